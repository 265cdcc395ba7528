"""What the LLM brain is told: which model, where, and how much it may use."""

from __future__ import annotations

from dataclasses import dataclass, field

OPENAI_URL = "https://api.openai.com/v1"


@dataclass(frozen=True)
class LlmSettings:
    """`base_url` is what precedes `/chat/completions`. Prices are micro-dollars for a million tokens; None: unknown."""

    model: str
    base_url: str = OPENAI_URL
    api_key: str = field(default="", repr=False)  # "" = none is sent
    temperature: float | None = None  # None: the server's default
    timeout_s: float = 20.0  # of one request
    max_rounds: int = 6  # requests in one cycle
    max_tokens_per_cycle: int = 60_000
    max_tokens_per_reply: int = 2_000
    max_usd_micros_per_hour: int | None = None
    price_in_usd_micros: int | None = None
    price_out_usd_micros: int | None = None
    tool_choice: str = "auto"  # auto | required
    name_enums: bool = False  # the tools' schemas list the names that there are
