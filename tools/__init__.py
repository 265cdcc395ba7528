"""The supervisor's tools over the narrow `ControlPort`.

Owns the protocol (fulfilled by the runtime, handed in by the command line). Must never perform an effect itself, or
import runtime, ledger or executors.
"""
