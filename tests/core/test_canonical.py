"""What is hashed has one form: made here or read from the ledger, with defaults said or left out."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from agentorch.core.canonical import canonical
from agentorch.core.guardrails.binding import proposal_hash
from agentorch.core.observe import observation_sha256
from agentorch.model.observation import Observation, WorkerFacts
from agentorch.model.proposals import Reroute
from tests.core.guardrails.supervised import Supervised


class Told(msgspec.Struct, frozen=True, omit_defaults=True):
    """Defaults that are objects of their own each time they are made."""

    word: str = "fine"
    count: int = 1_000
    share: float = 0.0
    parts: tuple[Reroute, ...] = ()
    names: dict[str, str] = {}


def fresh(word: str) -> str:
    """Equal, and another object."""
    return "".join(list(word))


@pytest.mark.parametrize(
    "value",
    [
        Told(word=fresh("fine")),
        Told(count=int("1000")),
        Told(share=float("0")),
        Told(share=0),
        Told(names=dict[str, str]()),
        msgspec.json.decode(b'{"word":"fine","count":1000,"share":0.0,"parts":[],"names":{}}', type=Told),
    ],
)
def test_a_default_is_left_out_however_it_came(value: Any) -> None:
    assert msgspec.json.encode(canonical(value)) == b"{}"


def test_what_is_no_default_stays() -> None:
    value = Told(word="bad", share=1, parts=(Reroute(pool="p", at_most=300),), names={"a": "fine"})
    assert canonical(value) == value
    assert msgspec.json.encode(canonical(value)) == msgspec.json.encode(canonical(canonical(value)))
    assert msgspec.json.decode(msgspec.json.encode(canonical(value)), type=Told) == value


def test_an_observation_has_one_hash_here_and_in_the_ledger() -> None:
    world = Supervised()
    world.tenant()
    world.pool(workers=2)
    seen = world.observe()
    assert world.facts.decisions[seen.cycle].observation_sha256 == observation_sha256(seen)
    words = ("ok", fresh("ok"))
    workers = [WorkerFacts(id="cpu-0", pool="cpu", state="up", health=word) for word in words]
    forms = [msgspec.structs.replace(seen, workers=(worker,)) for worker in workers]
    forms += [msgspec.json.decode(msgspec.json.encode(one), type=Observation) for one in forms]
    assert len({msgspec.json.encode(one) for one in forms}) > 1
    assert len({observation_sha256(one) for one in forms}) == 1


def test_a_proposal_has_one_hash() -> None:
    said = msgspec.json.decode(b'{"kind":"reroute","pool":"p","from_pool":"q","at_most":1,"tier":""}', type=Reroute)
    assert proposal_hash(said, "f", 1) == proposal_hash(Reroute(pool="p", from_pool="q"), "f", 1)
