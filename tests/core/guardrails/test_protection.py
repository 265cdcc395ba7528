"""G16 self-protection, G17 fresh state."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentorch.core.guardrails import fingerprint, proposal_hash
from agentorch.core.guardrails.protection import is_supervisor, self_protection
from agentorch.errors import Refused
from agentorch.model import commands as cmd
from agentorch.model.guardrails import BOUNDS, GuardrailSettings, loosened
from agentorch.model.proposals import Action, Cordon, Mode, Reroute, Reschedule, Ruling, Scale, Uncordon
from tests.core.guardrails.supervised import Supervised

ASK, DENY = Ruling.ask, Ruling.deny


def fleet(protected: bool = True) -> Supervised:
    world = Supervised()
    world.tenant()
    world.pool("cpu", workers=2, max_workers=2)
    world.pool("vault", workers=2, protected=protected, price_usd_micros_per_hour=1)
    return world


# -- G16


def out_of_reach(world: Supervised) -> list[Action]:
    jobs = world.run_some(4, run_s=100)
    inside = next(job for job in jobs if world.job(job).attempts[-1].pool == "vault")
    waiting = world.submit()
    return [
        Scale(pool="vault", workers=3),
        Cordon(worker="vault-0"),
        Uncordon(worker="vault-1"),
        Reroute(pool="vault", job=waiting),
        Reschedule(job=inside, change="preempt"),
        Reschedule(job=inside, change="priority", priority=1),
    ]


def test_g16_protected_pools_are_out_of_reach() -> None:
    guarded, open_world = fleet(), fleet(protected=False)
    for world in (guarded, open_world):
        world.ask(cmd.CordonWorker(worker="vault-1", cordoned=True, by="ann"))
        world.ask(cmd.CordonWorker(worker="vault-1", cordoned=False, by="ann"))
    assert {guarded.said(self_protection, action) for action in out_of_reach(guarded)} == {DENY}
    assert DENY not in {open_world.said(self_protection, action) for action in out_of_reach(open_world)}


def test_g16_what_a_person_holds_only_a_person_lifts() -> None:
    world = fleet()
    job = world.submit()
    release = Reschedule(job=job, change="resume")
    world.ask(cmd.PatchJob(job=job, by="ann", hold=True))
    assert world.said(self_protection, release) is ASK
    world.ask(cmd.PatchJob(job=job, by="ann", hold=False))
    pause = world.propose(Reschedule(job=job, change="pause"))
    world.answer(pause)
    assert world.carry_out(pause).state == "done"
    assert world.said(self_protection, release) is None


def test_g16_what_a_person_cordoned_only_a_person_lifts() -> None:
    world = fleet()
    world.ask(cmd.CordonWorker(worker="cpu-0", cordoned=True, by="ann", reason="fan"))
    assert world.said(self_protection, Uncordon(worker="cpu-0")) is ASK
    world.ask(cmd.CordonWorker(worker="cpu-0", cordoned=False, by="ann"))
    proposal = world.propose(Cordon(worker="cpu-0"))
    world.answer(proposal)
    world.carry_out(proposal)
    assert world.said(self_protection, Uncordon(worker="cpu-0")) is None


@pytest.mark.parametrize("by", ["supervisor", "Supervisor", "supervisor/rules", " supervisor:llm "])
def test_g16_the_supervisor_answers_raises_and_configures_nothing(by: str) -> None:
    world = fleet()
    proposal = world.propose(Cordon(worker="cpu-0"))
    world.ask(cmd.SetMode(mode=Mode.observe, by=by, person=False))
    for command in (
        cmd.AnswerApproval(proposal=proposal.id, kind="approve", by=by, hash=proposal.hash),  # type: ignore[arg-type]
        cmd.AnswerApproval(proposal=proposal.id, kind="reject", by=by),  # type: ignore[arg-type]
        cmd.SetMode(mode=Mode.guarded, by=by),
        cmd.ConfigureGuardrails(settings=GuardrailSettings(scale_up_step=1), by=by),
    ):
        with pytest.raises(Refused) as refused:
            world.ask(command)
        assert refused.value.code == "forbidden"


@given(st.text(alphabet="abcdefghijklmnop-", max_size=12))
def test_g16_keys_are_not_mistaken_for_the_supervisor(name: str) -> None:
    assert not is_supervisor(name)


@given(st.sampled_from(sorted(BOUNDS)), st.integers(-(10**9), 10**9))
def test_g16_settings_only_tighten(name: str, value: int) -> None:
    default = getattr(GuardrailSettings(), name)
    refused = loosened(msgspec.structs.replace(GuardrailSettings(), **{name: value}))
    lowest, highest = BOUNDS[name]
    assert bool(refused) is not (lowest <= value <= highest)
    if name != "approval_ttl_ms":
        assert default in (lowest, highest), "the default is the loosest"


# -- G17


def test_g17_a_fingerprint_moves_with_what_the_judgement_rested_on_and_with_nothing_else() -> None:
    world = fleet()
    job = world.submit(priority=10)
    actions: dict[str, Action] = {
        "pool": Scale(pool="cpu", workers=1),
        "job": Reschedule(job=job, change="priority", priority=50),
        "worker": Cordon(worker="cpu-1"),
    }
    for command, moves in (
        (cmd.RaiseAlert(code="x", text="nothing changed", by="ann"), set()),
        (cmd.PausePool(pool="cpu", paused=True, by="ann"), {"pool"}),
        (cmd.PatchJob(job=job, by="ann", priority=99), {"job"}),
        (cmd.PatchJob(job=job, by="ann", hold=True), {"job"}),
        (cmd.CordonWorker(worker="cpu-1", cordoned=True, by="ann"), {"worker"}),
        (cmd.ScalePool(pool="cpu", workers=1, by="ann"), {"pool", "worker"}),
    ):
        before = {kind: fingerprint(world.facts, action) for kind, action in actions.items()}
        world.ask(command)
        world.submit()
        after = {kind: fingerprint(world.facts, action) for kind, action in actions.items()}
        assert {kind for kind in actions if before[kind] != after[kind]} == moves


def test_g17_the_hash_binds_action_facts_and_expiry() -> None:
    base: dict[str, Any] = {"action": Scale(pool="cpu", workers=1), "fingerprint": "f", "expires_ms": 1}
    others: list[dict[str, Any]] = [{"action": Scale(pool="cpu", workers=2)}, {"fingerprint": "g"}, {"expires_ms": 2}]
    assert len({proposal_hash(**(base | other)) for other in [{}, *others]}) == 4


@given(st.integers(0, 8), st.integers(0, 8))
def test_g17_equal_hashes_mean_equal_actions(one: int, two: int) -> None:
    hashes = [proposal_hash(Scale(pool="cpu", workers=n), "f", 1) for n in (one, two)]
    assert (hashes[0] == hashes[1]) is (one == two)
