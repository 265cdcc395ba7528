"""What the LLM brain is told: which model, where, and how much it may use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from agentorch.errors import ConfigError

BRAIN_NAMES: Final = ("rules", "openai")
OPENAI_URL: Final = "https://api.openai.com/v1"
OPENAI_KEY: Final = "OPENAI_API_KEY"
TEMPERATURE_MAX: Final = 2.0  # of OpenAI's API; other servers take no more either


@dataclass(frozen=True)
class LlmSettings:
    """`base_url` is what precedes `/chat/completions`. Prices are micro-dollars for a million tokens; None: unknown."""

    model: str
    base_url: str = OPENAI_URL
    api_key: str = field(default="", repr=False)  # "" = none is sent
    temperature: float | None = None  # None: the server's default
    seed: int | None = None  # with the cycle's number, of the server's draws; None: none is sent
    timeout_s: float = 20.0  # of one request
    max_rounds: int = 6  # requests in one cycle
    max_tokens_per_cycle: int = 60_000
    max_tokens_per_reply: int = 2_000
    max_usd_micros_per_hour: int | None = None
    price_in_usd_micros: int | None = None
    price_out_usd_micros: int | None = None
    tool_choice: str = "auto"  # auto | required
    name_enums: bool = False  # the tools' schemas list the names that there are
    tools: tuple[str, ...] = ()  # that the model is offered; empty: all


def llm_settings(fields: Mapping[str, Any], environ: Mapping[str, str]) -> LlmSettings:
    """From the section's values; the key comes from the variable that it names. Raises ConfigError."""
    prices = fields["price_in_usd"], fields["price_out_usd"]
    if fields["max_usd_per_hour"] is not None and None in prices:
        raise ConfigError(
            "supervisor.llm.max_usd_per_hour: what tokens cost is not known; set price_in_usd and price_out_usd too"
        )
    variable = fields["api_key_env"] or (OPENAI_KEY if fields["base_url"] == OPENAI_URL else "")
    return LlmSettings(
        model=fields["model"],
        base_url=fields["base_url"],
        api_key=environ.get(variable, "").strip() if variable else "",
        temperature=fields["temperature"],
        seed=fields["seed"],
        timeout_s=fields["timeout"] / 1000,
        max_rounds=fields["max_rounds"],
        max_tokens_per_cycle=fields["max_tokens_per_cycle"],
        max_tokens_per_reply=fields["max_tokens_per_reply"],
        max_usd_micros_per_hour=fields["max_usd_per_hour"],
        price_in_usd_micros=prices[0],
        price_out_usd_micros=prices[1],
        tool_choice=fields["tool_choice"],
        name_enums=fields["name_enums"],
        tools=fields["tools"],
    )


def base_url(value: Any) -> str:
    """A server's URL without a slash at its end. Raises ValueError."""
    if not isinstance(value, str) or not value.isprintable() or " " in value:
        raise ValueError("not a URL")
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
        raise ValueError("not an http or https URL")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError("a user, a query or a fragment has no place in it")
    return value.rstrip("/")


def temperature(value: Any) -> float:
    """Raises ValueError."""
    number = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else -1.0
    if not 0.0 <= number <= TEMPERATURE_MAX:
        raise ValueError(f"not within 0 and {TEMPERATURE_MAX:g}")
    return number
