"""A model of noise supervises a real runtime: whatever it wants, no guardrail is breached.

`python -m tests.inference.chaos --proposals 10000` writes the model, starts a llama.cpp server, lets an LLM brain on
it supervise a living fleet in virtual time, and has the ledger judged by somebody who knows none of the guardrails.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from agentorch.config.brains import LlmSettings
from agentorch.core import invariants
from agentorch.core.evolve import evolve
from agentorch.core.guardrails import rejudge
from agentorch.core.state import State
from agentorch.errors import Refused
from agentorch.graphs.llm.brain import llm_brain
from agentorch.graphs.llm.budget import REPLY_TOKENS_MIN
from agentorch.graphs.llm.cassette import replayed
from agentorch.model import events as ev
from agentorch.model import limits
from agentorch.model.brain import BrainContext
from agentorch.model.proposals import BrainReport, Draft, Reschedule
from agentorch.runtime.port import RuntimePort
from agentorch.tools.catalogue import PROPOSAL_TOOLS
from tests.core.guardrails.breaches import breaches
from tests.graphs.supervising import supervising
from tests.inference.llama_server import llama_server
from tests.inference.tiny_model import write_model
from tests.inference.world import World

MODEL = "noise"
TOKENS_PER_CYCLE = 40_000
TELL_EVERY = 200
REPLAYED_MAX = 200


async def unreachable(drafts: tuple[Draft, ...]) -> Any:
    raise Refused("unreachable", "there is no state any more")


#: What a record is replayed in: nothing answers.
NO_WORLD = BrainContext(preview=unreachable, foresee=unreachable, timeout_s=0.0)


@dataclass
class Rampage:
    """All that happened, and what was found in it."""

    events: list[ev.Event]
    took_s: float
    found: list[str] = field(default_factory=list)  # breaches, in words

    @property
    def proposals(self) -> int:
        return sum(isinstance(event, ev.ProposalJudged) for event in self.events)

    @property
    def reports(self) -> list[BrainReport]:
        return [event.report for event in self.events if isinstance(event, ev.CycleDecided)]

    def rulings(self) -> Counter[str]:
        return Counter(
            str(event.proposal.verdict.ruling) for event in self.events if isinstance(event, ev.ProposalJudged)
        )

    def carried_out(self) -> Counter[str]:
        """What was begun, by kind."""
        kinds = (event.action for event in self.events if isinstance(event, ev.ActionStarted))
        return Counter(
            action.change if isinstance(action, Reschedule) else str(action.__struct_config__.tag) for action in kinds
        )


async def rampage(url: str, proposals: int, seed: int) -> Rampage:
    """Let noise supervise until it has made so many proposals, then look for what it broke."""
    world, began_s = World(seed), time.monotonic()
    told = TELL_EVERY
    async with world.runtime() as runtime:
        brain, other = (
            llm_brain(noise(url, f"{MODEL}{number}", 100_000 * seed + 50_000 * number, number)) for number in (1, 2)
        )
        async with supervising(RuntimePort(runtime), brain, other, timeout_s=60.0) as supervisor:
            while runtime.loop.state.facts.next_proposal <= proposals:
                await supervisor.run_cycle()
                await world.step(runtime)
                if runtime.loop.state.facts.next_proposal > told:
                    print(f"{told} proposals, {time.monotonic() - began_s:.0f} s", file=sys.stderr, flush=True)
                    told += TELL_EVERY
        await runtime.settled()
        events = [event async for batch in world.ledger.read() for _, event in batch]
    # As a reader of the ledger gets them: through the encoding and back.
    events = msgspec.json.decode(msgspec.json.encode(events), type=list[ev.Event])
    done = Rampage(events, time.monotonic() - began_s)
    done.found += [*breaches(events), *judged_again(events), *uncapped(done), *await otherwise(done)]
    return done


def noise(url: str, model: str, seed: int, rounds: int) -> LlmSettings:
    """Each reply calls tools; names are those that there are, as far as the schemas list them."""
    return LlmSettings(
        model=model,
        base_url=url,
        temperature=1.5,
        seed=seed,
        timeout_s=60.0,
        max_rounds=rounds,
        tools=tuple(PROPOSAL_TOOLS) if rounds == 1 else (),  # what is read in the last round is never heard
        max_tokens_per_cycle=TOKENS_PER_CYCLE,
        max_tokens_per_reply=1_500,
        tool_choice="required",
        name_enums=True,
    )


def judged_again(events: list[ev.Event]) -> list[str]:
    """Every verdict that does not come out again from what the ledger holds, and every broken invariant."""
    state, found = State(), []
    for event in events:
        if isinstance(event, ev.ProposalJudged | ev.ProposalChanged):
            verdict = rejudge(state, event)
            if verdict != event.proposal.verdict:
                found.append(f"{event.proposal.id} was ruled {event.proposal.verdict}; again: {verdict}")
        evolve(state, event)
    return found + invariants.breaches(state)


async def otherwise(done: Rampage) -> list[str]:
    """Every report, or of many a sample, that does not come out again from its recorded exchanges alone."""
    seen = {event.observation.cycle: event.observation for event in done.events if isinstance(event, ev.CycleObserved)}
    decided = [event for event in done.events if isinstance(event, ev.CycleDecided)]
    found = []
    for event in decided[:: 1 + len(decided) // REPLAYED_MAX]:
        brain = replayed(event.report)
        again = await brain.decide(seen[event.cycle], NO_WORLD)
        same = (again.drafts, again.hold, again.error) == (event.report.drafts, event.report.hold, event.report.error)
        if brain.differs or not same:
            found.append(f"cycle {event.cycle} comes out otherwise from its record: {again.error or again.hold}")
    return found


def uncapped(done: Rampage) -> list[str]:
    """Every cycle that took more than it may: proposals, tokens, and what it said."""
    found = []
    per_cycle = Counter(event.proposal.cycle for event in done.events if isinstance(event, ev.ProposalJudged))
    found += [f"{count} proposals in cycle {cycle}" for cycle, count in per_cycle.items() if count > MOST_PER_CYCLE]
    for report in done.reports:
        tokens = sum(one.tokens_in + one.tokens_out for one in report.exchanges)
        if tokens > TOKENS_PER_CYCLE + REPLY_TOKENS_MIN:
            found.append(f"{tokens} tokens in one cycle")
        if report.error and report.drafts:
            found.append("a report with an error had drafts")
        if len(report.exchanges) > limits.BRAIN_EXCHANGES_MAX:
            found.append(f"{len(report.exchanges)} exchanges in one cycle")
    return found


MOST_PER_CYCLE = limits.PROPOSALS_PER_CYCLE


def main(proposals: int, seed: int) -> int:
    with tempfile.TemporaryDirectory(prefix="agentorch-chaos-") as scratch:
        folder = Path(scratch)
        write_model(folder / "noise.gguf", seed)
        with llama_server(folder / "noise.gguf", folder / "server.log") as url:
            done = asyncio.run(rampage(url, proposals, seed))
    errors = sum(bool(report.error) for report in done.reports)
    print(f"{done.proposals} proposals in {len(done.reports)} cycles ({errors} of them errors), {done.took_s:.0f} s")
    waited = sum(one.took_ms for report in done.reports for one in report.exchanges) / 1000
    print(f"{sum(len(report.exchanges) for report in done.reports)} exchanges with the model took {waited:.0f} s of it")
    print(f"rulings: {dict(done.rulings())}; carried out: {dict(done.carried_out())}")
    print(f"breaches: {len(done.found)}", *done.found[:20], sep="\n")
    return 1 if done.found else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--proposals", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    sys.exit(main(given.proposals, given.seed))
