"""Tracing is off: nothing that a supervisor sees may leave the machine unasked.

LangChain uploads inputs and outputs of every step when LANGSMITH_TRACING (or an older spelling) is inherited from the
environment, with or without a key. A setting made in code outranks the environment.
"""

from __future__ import annotations

import langsmith


def switch_tracing_off() -> None:
    """For this process, whatever the environment says. Idempotent."""
    langsmith.configure(enabled=False)
