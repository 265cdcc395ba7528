"""How much a brain may use: tokens in one cycle, money in one hour. What is not sure is reckoned as if it were dear."""

from __future__ import annotations

from collections import deque
from typing import Final

from agentorch.config.brains import LlmSettings
from agentorch.errors import BrainError

MILLION: Final = 1_000_000
HOUR_S: Final = 3600.0
#: Of a text that is yet to be sent, or that a server did not count. OpenAI's rule of thumb is four for English prose
#: (https://help.openai.com/en/articles/4936856); ids and numbers take more tokens than prose.
CHARS_PER_TOKEN: Final = 3
#: A reply of fewer tokens can't hold one call.
REPLY_TOKENS_MIN: Final = 64


class Purse:
    """What was paid in the last hour, in micro-dollars, by this process. Times are seconds of any steady clock."""

    def __init__(self, settings: LlmSettings) -> None:
        self._cap = settings.max_usd_micros_per_hour
        self._price_in = settings.price_in_usd_micros
        self._price_out = settings.price_out_usd_micros
        self._paid: deque[tuple[float, int]] = deque()

    def price(self, tokens_in: int, tokens_out: int) -> int | None:
        """Rounded up; None: unknown."""
        if self._price_in is None or self._price_out is None:
            return None
        return -(-(tokens_in * self._price_in + tokens_out * self._price_out) // MILLION)

    def check(self, now_s: float, tokens_in: int, tokens_out: int) -> None:
        """Raises BrainError when a request of this size could pass the cap."""
        if self._cap is None:
            return
        while self._paid and self._paid[0][0] <= now_s - HOUR_S:
            self._paid.popleft()
        paid, price = sum(micros for _, micros in self._paid), self.price(tokens_in, tokens_out)
        if price is None or paid + price > self._cap:
            raise BrainError(
                f"out of budget: {_usd(paid)} spent within the hour, and the next request may take "
                f"{_usd(price)} (max_usd_per_hour is {_usd(self._cap)})"
            )

    def pay(self, now_s: float, tokens_in: int, tokens_out: int) -> None:
        price = self.price(tokens_in, tokens_out)
        if price is not None and self._cap is not None:
            self._paid.append((now_s, price))


class Allowance:
    """The tokens of one cycle."""

    def __init__(self, settings: LlmSettings) -> None:
        self._most = settings.max_tokens_per_cycle
        self._per_reply = settings.max_tokens_per_reply
        self.used = 0

    def next_reply(self, tokens_in: int) -> int:
        """The most tokens that the next reply may have. Raises BrainError when too few are left."""
        left = min(self._per_reply, self._most - self.used - tokens_in)
        if left < REPLY_TOKENS_MIN:
            raise BrainError(
                f"out of budget: {self.used:,} tokens used in this cycle, and the next request takes about "
                f"{tokens_in:,} (max_tokens_per_cycle is {self._most:,})"
            )
        return left

    def use(self, tokens_in: int, tokens_out: int) -> None:
        self.used += tokens_in + tokens_out


def estimate(characters: int) -> int:
    """Tokens of so many characters, rather too many than too few."""
    return characters // CHARS_PER_TOKEN + 1


def _usd(micros: int | None) -> str:
    return "an unknown amount" if micros is None else f"${micros / MILLION:.4f}"
