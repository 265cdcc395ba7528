"""What a branch of a recording is asked with: another brain, other settings, a part of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from agentorch.tui import words

WAIT_S: Final = 1.0  # how long an answer may take before it tells how far it is


@dataclass(frozen=True)
class Asked:
    """What a branch is asked with. `from_seq` and `to_seq`: None = the beginning, the end."""

    brain: str = "rules"
    settings: dict[str, str] = field(default_factory=dict)
    from_seq: int | None = None
    to_seq: int | None = None

    def told(self) -> str:
        """In words: `rules with pools.gpu.max_workers=8`."""
        pairs = " ".join(f"{key}={value}" for key, value in self.settings.items())
        return self.brain + (f" with {pairs}" if pairs else "")

    def body(self) -> dict[str, Any]:
        """As the server is asked."""
        return {
            "brain": self.brain,
            "set": self.settings,
            "from": self.from_seq,
            "to": self.to_seq,
            "wait_s": WAIT_S,
        }

    def command(self) -> str:
        parts = ["agentorch replay FILE --brain", self.brain]
        parts += [f"--set {key}={value}" for key, value in self.settings.items()]
        parts += [f"--from '#{self.from_seq}'"] if self.from_seq is not None else []
        parts += [f"--to '#{self.to_seq}'"] if self.to_seq is not None else []
        return " ".join(parts)


def read_branch(brain: str, settings: str, first: str, last: str, newest: int) -> tuple[Asked, list[str]]:
    """What was typed, and what is wrong with it."""
    wrong: list[str] = []
    pairs: dict[str, str] = {}
    for item in settings.split():
        key, equals, value = item.partition("=")
        if not key or not equals or not value:
            wrong.append(f"set: {item!r} is not KEY=VALUE")
        pairs[key] = value
    bounds: list[int | None] = []
    for name, text in (("from", first.strip()), ("to", last.strip())):
        number = int(text) if text.isascii() and text.isdigit() else None
        if text and (number is None or not 1 <= number <= newest):
            wrong.append(f"{name}: a sequence number, 1 to {words.count(newest)}")
        bounds.append(number)
    if bounds[0] is not None and bounds[1] is not None and bounds[0] > bounds[1]:
        wrong.append("from: must not be after to")
    if not brain.strip():
        wrong.append("brain: name one, such as rules")
    return Asked(brain.strip(), pairs, bounds[0], bounds[1]), wrong
