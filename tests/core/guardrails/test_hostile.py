"""Ten thousand proposals of a hostile brain, a careless operator and a living fleet: not one breach."""

from __future__ import annotations

import random
from contextlib import suppress
from typing import Any

import msgspec
import pytest

from agentorch.core import invariants
from agentorch.core.decide import decide
from agentorch.core.evolve import evolve
from agentorch.core.guardrails import rejudge
from agentorch.core.state import State
from agentorch.errors import Refused
from agentorch.model import commands as cmd
from agentorch.model import events as ev
from agentorch.model.jobs import Cause, Constraints, RetryOn, RetryPolicy, Tier
from agentorch.model.proposals import Action, AnswerKind, BrainReport, Mode, Reschedule, Scale
from tests.core.guardrails.breaches import breaches
from tests.core.guardrails.hostile import Hostile
from tests.core.guardrails.supervised import Supervised

DOLLAR = 1_000_000
PROPOSALS = 10_000


class Fleet(Supervised):
    """Checks the invariants now and then: a check looks at everything, and there are thousands of steps."""

    def ask(self, command: cmd.Command) -> Any:
        events, result = decide(self.state, command, self.now_ms)
        self.events.extend(events)
        assert len(self.events) % 20 or not invariants.breaches(self.state)
        return result


def fleet() -> Supervised:
    world = Fleet()
    world.pool("cpu", workers=3, max_workers=12, cpus=2, min_workers=1)
    world.pool("eu", workers=2, max_workers=6, cpus=2, region="eu", price_usd_micros_per_hour=None)
    world.pool("paid", workers=1, max_workers=6, cpus=4, price_usd_micros_per_hour=DOLLAR)
    world.pool("vault", workers=2, max_workers=6, cpus=2, protected=True)
    world.tenant("t", hard_cap_usd_micros=40 * DOLLAR)
    world.tenant("free")
    return world


class Life:
    """What goes on beside the supervisor."""

    def __init__(self, world: Supervised, seed: int) -> None:
        self.world = world
        self.rng = random.Random(seed)

    def step(self, busy: bool) -> None:
        world, rng = self.world, self.rng
        if busy and len(world.state.queue) < 30:
            for _ in range(rng.randint(0, 4)):
                self.submit()
        world.schedule()
        for name in list(world.facts.running):
            chance = rng.random()
            if chance < 0.5:
                world.running(name)
            elif chance < (0.55 if busy else 0.9):
                cause = world.job(name).stop_cause or rng.choice([Cause.completed, Cause.completed, Cause.lost])
                world.end(name, cause, None)

    def submit(self) -> None:
        rng = self.rng
        places = [Constraints(), Constraints(), Constraints(pools=("cpu",)), Constraints(regions=("eu", "local"))]
        self.world.submit(
            rng.choice(["t", "free"]),
            cpus=rng.choice([0.5, 1, 2]),
            tier=rng.choice(list(Tier)),
            preemptible=rng.random() < 0.8,
            constraints=rng.choice(places),
            retry=RetryPolicy(on=(RetryOn.interruption,), attempts=3),
        )

    def operate(self) -> None:
        """Answer at random: yes to much, sometimes late, twice, with an old hash, or with an edit that widens."""
        rng, world = self.rng, self.world
        settled = list(world.facts.proposals)[-100:]
        for name in rng.sample(settled, min(2, len(settled))) + list(world.facts.unsettled):
            proposal = world.facts.proposals[name]
            kind = rng.choice([AnswerKind.approve, AnswerKind.approve, AnswerKind.edit, AnswerKind.reject])
            edits: dict[str, int | str] = {}
            if kind is AnswerKind.edit and isinstance(proposal.action, Scale):
                edits = {"workers": proposal.action.workers + rng.randint(-2, 2)}
            given_hash = proposal.hash if rng.random() < 0.9 else "stale"
            by = rng.choice(["ann", "ann", "ann", "supervisor"])
            if rng.random() < 0.3:
                with suppress(Refused):
                    world.ask(
                        cmd.AnswerApproval(proposal=name, kind=kind, by=by, hash=given_hash, edits=edits),
                    )

    def meddle(self) -> None:
        """People change things under open proposals, and the mode."""
        rng, world = self.rng, self.world
        chance = rng.random()
        if chance < 0.03:
            world.ask(cmd.SetMode(mode=rng.choice(list(Mode)), by="ann"))
        elif chance < 0.3:
            world.ask(cmd.SetMode(mode=Mode.guarded, by="ann"))
        elif chance < 0.35:
            pool = rng.choice(["cpu", "eu"])
            world.ask(cmd.PausePool(pool=pool, paused=rng.random() < 0.3, by="ann"))
        elif chance < 0.4 and world.facts.workers:
            worker = rng.choice(list(world.facts.workers))
            world.ask(cmd.CordonWorker(worker=worker, cordoned=False, by="ann"))


def rampage(seed: int) -> Supervised:
    world = fleet()
    brain, life, rng = Hostile(world, seed), Life(world, seed + 1), random.Random(seed + 2)
    handed_in = 0
    while handed_in < PROPOSALS:
        busy = (world.facts.cycle // 120) % 2 == 0  # quiet hours between, so that shrinking comes into question
        life.step(busy)
        world.observe(world.cpu(age_s=rng.choice([0, 0, 0, 5, 14, 16, 40])))
        drafts = brain.drafts(rng.choice([1, 3, 16, 16, 20, 60]))
        handed_in += len(drafts)
        world.now_ms += rng.choice([0, 1000, 5000])
        report = BrainReport(brain="hostile", drafts=drafts)
        world.ask(cmd.HandIn(cycle=world.facts.cycle, report=report))
        life.meddle()
        life.operate()
        world.now_ms += rng.choice([0, 0, 1000])
        carry_out(world, rng)
        world.tick(rng.choice([1, 5, 10, 20, 45]))
        if rng.random() < 0.5:
            world.watch(rng.choice([60, 240]), every=40)
    return world


def carry_out(world: Supervised, rng: random.Random) -> None:
    """Most of what may be carried out, and some of what may not; each twice."""
    names = [name for name in world.facts.unsettled if rng.random() < 0.8]
    known = list(world.facts.proposals)[-200:]
    for name in names + rng.sample(known, min(3, len(known))):
        with suppress(Refused):
            world.ask(cmd.CarryOut(proposal=name))
            world.ask(cmd.CarryOut(proposal=name))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1])
def test_a_hostile_brain_breaches_nothing(seed: int) -> None:
    world = rampage(seed)
    assert breaches(world.events) == []
    world.assert_sound()
    started = {name_of(event.action) for event in world.events if isinstance(event, ev.ActionStarted)}
    assert started >= {"scale", "priority", "preempt", "reroute", "cordon", "alert"}, "it must get far enough to judge"
    shrunk = [event for event in world.events if isinstance(event, ev.WorkerRetired) and event.by == "supervisor"]
    assert shrunk, "shrinking must have been tried with success"
    kinds = {type(event) for event in world.events}
    assert {ev.ApprovalExpired, ev.ProposalChanged, ev.ProposalSuperseded, ev.ActionRefused, ev.ProposalLapsed} <= kinds
    judged_again(world.events)


def name_of(action: Action) -> str:
    return action.change if isinstance(action, Reschedule) else str(action.__struct_config__.tag)


def judged_again(events: list[ev.Event]) -> None:
    """Every verdict comes out again from what the ledger holds."""
    state = State()
    for event in msgspec.json.decode(msgspec.json.encode(events), type=list[ev.Event]):
        if isinstance(event, ev.ProposalJudged | ev.ProposalChanged):
            assert rejudge(state, event) == event.proposal.verdict
        evolve(state, event)
