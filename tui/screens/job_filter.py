"""The filter grammar of the jobs screen: `state:queued tenant:search pool:h100 label:team=nlp llama`.

`key:value` narrows by a field, several values of a state are joined by commas, any other word is searched for in name,
command and id (a leading `/` is allowed). The server filters, so that the count is of all jobs, not of those loaded.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

STATES = ("queued", "held", "starting", "running", "stopping", "succeeded", "failed", "cancelled")
KEYS = ("state", "tenant", "pool", "label")
HINT = "state:queued  tenant:NAME  pool:NAME  label:KEY=VALUE  and words to search for"


@dataclass(frozen=True)
class JobFilter:
    state: str = ""
    tenant: str = ""
    pool: str = ""
    label: str = ""
    q: str = ""

    @property
    def empty(self) -> bool:
        return self == JobFilter()

    def asked(self) -> dict[str, str]:
        """The query parameters that are not empty."""
        return {field.name: getattr(self, field.name) for field in fields(self) if getattr(self, field.name)}

    def __str__(self) -> str:
        parts = [f"{key}:{getattr(self, key)}" for key in KEYS if getattr(self, key)]
        return " ".join([*parts, self.q] if self.q else parts)


def parse(text: str) -> tuple[JobFilter, str]:
    """The filter, and what is wrong with the text ("" = nothing)."""
    found: dict[str, str] = {}
    searched: list[str] = []
    for word in text.split():
        key, colon, value = word.partition(":")
        if colon and key.isidentifier():
            key = {"team": "tenant", "job": "q"}.get(key, key)
            if key not in KEYS:
                return JobFilter(), f"there is no {key!r}: use {', '.join(KEYS)} or plain words"
            if not value:
                return JobFilter(), f"{key}: needs a value"
            if key == "state":
                unknown = [state for state in value.split(",") if state not in STATES]
                if unknown:
                    return JobFilter(), f"there is no state {unknown[0]!r}: {', '.join(STATES)}"
            found[key] = value
        else:
            searched.append(word.removeprefix("/"))
    return JobFilter(**found, q=" ".join(word for word in searched if word)), ""
