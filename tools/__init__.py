"""The supervisor's tools over the narrow `ControlPort`.

Owns the protocol (fulfilled by the runtime, handed in by the command line), the steps that graphs take through it,
and the tools that a model may be given: reads and proposals, kept apart. Must never perform an effect itself, import
runtime, ledger or executors, or hold a tool that approves or changes the mode, a guardrail, a key, or a budget.
"""
