"""One seed: the real runtime and the real supervisor, on a virtual clock, a bad disk and bad machines.

The keeper starts the runtime and starts it again whenever it died, as an init system does. Faults are drawn from one
stream per subsystem; where something may die is asked at each step of a commit and around each message, because faults
at random times hardly ever hit the moments that matter.
"""

from __future__ import annotations

import asyncio
import copy
import random
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from agentorch.core.evolve import evolve
from agentorch.core.invariants import breaches
from agentorch.core.policy import RuleBrain
from agentorch.core.state import State
from agentorch.errors import AgentorchError, ExecutorError, LedgerCorrupt, LedgerFailed, Refused, RuntimeStopped
from agentorch.graphs.driver import Supervisor
from agentorch.ledger import codec
from agentorch.ledger.chain import Row
from agentorch.model import commands as cmd
from agentorch.model.attempts import AttemptPhase
from agentorch.model.brain import Brain
from agentorch.model.events import EVENT_NAMES
from agentorch.model.proposals import BrainReport, Proposal
from agentorch.runtime.fold import encode
from agentorch.runtime.port import RuntimePort
from agentorch.runtime.runtime import Runtime
from agentorch.simulation.faults.chance import Chance
from agentorch.simulation.faults.clock import JumpingClock
from agentorch.simulation.faults.disk import Disk, DiskError, DiskLedger, Step
from agentorch.simulation.faults.loop import pass_time
from agentorch.simulation.faults.machine import Machine, SimulatedExecutor, Weather
from tests.simulated import town
from tests.simulated.brains import HoldingBrain, WildBrain
from tests.simulated.checker import Checker
from tests.simulated.telemetry import Samples

encode_one = msgspec.msgpack.Encoder().encode
STORY_LINES = 4_000
#: Commits that carry one of these are where a crash hurts, with how likely it comes there: the rare are aimed at more.
TENDER = {
    b'"job-submitted"': 0.004,
    b'"job-started"': 0.004,
    b'"job-stopping"': 0.02,
    b'"approval-answered"': 0.02,
    b'"action-started"': 0.03,
    b'"node-released"': 0.02,
}
#: A life has one of these all along: what fails often hides what fails seldom.
WEATHERS = (
    Weather(latency_ms=(1, 20)),
    Weather(latency_ms=(1, 300), stuck=0.03, unsent=0.01, unheard=0.01, twice=0.1, late_ms=2_000),
    Weather(latency_ms=(1, 300), stuck=0.03, unsent=0.01, unheard=0.01, twice=0.1, late_ms=2_000),
    Weather(latency_ms=(50, 1_500), stuck=0.1, unsent=0.05, unheard=0.08, twice=0.4, late_ms=20_000),
)


class Breach(AssertionError):
    """A promise was broken. The text says which, when, and how to see it again."""


class Faults(msgspec.Struct):
    """Chances; all zero is a quiet world."""

    crash_at_step: float = 0.0  # per step of a commit
    tender: float = 0.0  # that much of what `TENDER` says
    crash_at_message: float = 0.0
    sync_error: float = 0.0
    slow: float = 0.0  # a commit that takes seconds


def faults_of(rng: random.Random) -> Faults:
    """How often a life's machine dies, and how bad its disk is."""
    deadly, disk = rng.choice([0.3, 1.0, 1.0, 3.0]), rng.choice([0.0, 1.0, 4.0])
    return Faults(
        crash_at_step=0.0006 * deadly,
        tender=deadly,
        crash_at_message=0.003 * deadly,
        sync_error=0.0008 * disk,
        slow=0.01 * disk,
    )


class Blind(RuntimePort):
    """Without the twin, which would take more than half of the time: what it says is not what is tested."""

    async def hand_in(self, cycle: int, report: BrainReport) -> list[Proposal]:
        handed_in = await self._runtime.ask(cmd.HandIn(cycle=cycle, report=report))
        return [copy.copy(proposal) for proposal in handed_in]


class World:
    def __init__(self, seed: int, *, say: Callable[[str], None] | None = None) -> None:
        self.seed = seed
        self.chance = Chance(seed)
        self.clock = JumpingClock()
        self._shape = self.chance.stream("shape")
        self.faults = faults_of(self._shape)
        self.story: deque[str] = deque(maxlen=STORY_LINES)
        self._say = say
        self.breach = ""
        self.broken = asyncio.Event()
        self.commits = 0
        self.kinds: dict[str, int] = {}
        self.crashes: dict[str, int] = {}
        self.checker = Checker(self.fail, self.really_running, self.clock.true_ms)
        self.shadow = State()  # the fold of what is durable
        self.disk = Disk()
        self.disk.step, self.disk.synced, self.disk.recovered = self._at_step, self._durable, self._recovered
        self.full = False  # the disk is
        self._disk_chance = self.chance.stream("disk")
        self._look_chance = self.chance.stream("looks")
        self._crash_chance = self.chance.stream("crashes")
        script = town.script(self.chance)
        self.machines = {
            name: Machine(
                self.clock,
                self.chance.stream(name),
                script,
                launched=self.checker.begins,
                stopping=self.checker.is_stopped,
            )
            for name in ("house", "cloud")
        }
        for machine in self.machines.values():
            machine.passing = self._at_message
            machine.weather = self._shape.choice(WEATHERS)
        self.machines["cloud"].inner.nodes.offers = town.offers()
        self.samples = Samples(self.clock, self.chance.stream("samples"))
        self.sees_ahead = seed % 4 == 0
        self.brain = WildBrain(self.chance.stream("brain"), knows_rules=self.sees_ahead)
        self.fallback: Brain = RuleBrain() if self.sees_ahead else HoldingBrain()
        self.runtime: Runtime | None = None  # the one that answers
        self._ending = ""  # how the runtime is to die
        self._end_now = asyncio.Event()
        self._crashes_now = asyncio.Event()
        self._over = False
        self._compared = False  # live state and fold, since the last start

    # -- words

    def say(self, text: str) -> None:
        line = f"{self.clock.true_ms() / 1000:10.3f} {text}"
        self.story.append(line)
        if self._say is not None:
            self._say(line)

    def fail(self, text: str) -> None:
        """The first breach counts; the world stops at once."""
        if not self.breach:
            self.say(f"BREACH {text}")
            self.breach = text
        self.broken.set()

    # -- what is watched

    def really_running(self) -> list[str]:
        return [
            name
            for machine in self.machines.values()
            for name, run in machine.inner.runs.items()
            if run.status.phase is AttemptPhase.running
        ]

    def _recovered(self, rows: list[Row]) -> None:
        known = len(self.checker.hashes)
        self.checker.recovered(rows)
        for row in rows[known:]:
            self._note(row)

    def _durable(self, row: Row) -> None:
        self.checker.durable(row)
        self._note(row)
        self._compare()

    def _note(self, row: Row) -> None:
        self.commits += 1
        for event in codec.decode(row.codec, row.body, row.first, row.count):
            evolve(self.shadow, event)
            name = EVENT_NAMES[type(event)]
            self.kinds[name] = self.kinds.get(name, 0) + 1
            self.say(f"  {self.shadow.facts.seq} {_brief(event)}")

    def _compare(self) -> None:
        """Live state against invariants, and against the fold where both are as far."""
        if self.runtime is None:
            return
        live = self.runtime.loop.state
        if self._look_chance.random() < 0.2 and (wrong := breaches(live)):
            self.fail(f"invariants: {'; '.join(wrong[:5])}")
        if live.facts.seq == self.shadow.facts.seq and (not self._compared or self._look_chance.random() < 0.02):
            self._compared = True
            if encode(live.facts) != encode(self.shadow.facts):
                self.fail(f"the state in memory is not what the ledger amounts to: {_difference(live, self.shadow)}")

    # -- where it may die

    async def _at_step(self, step: Step, body: bytes) -> None:
        rng, faults = self._disk_chance, self.faults
        tender = max((likely for word, likely in TENDER.items() if word in body), default=0.0)
        crash = rng.random() < max(faults.crash_at_step, faults.tender * tender)
        if step in (Step.begun, Step.written):
            slow = rng.random() < faults.slow
            await pass_time(rng.uniform(0.5, 8.0) if slow else rng.uniform(0.0002, 0.004))
        if step is Step.torn and self.full:
            raise DiskError("no space left on device")
        if step is Step.written and rng.random() < faults.sync_error:
            self.say("the disk could not sync")
            raise DiskError("input/output error")
        if crash:
            await self._die_here(f"commit {step}")

    async def _at_message(self) -> None:
        if self._crash_chance.random() < self.faults.crash_at_message:
            await self._die_here("message")

    async def _die_here(self, where: str) -> None:
        self.die(self._crash_chance.choice(["killed", "power"]), where)
        await asyncio.Event().wait()  # whoever got here gets no further

    def die(self, how: str, where: str) -> None:
        """`killed`, `power` (what was not synced may be lost) or `closed` (in order)."""
        if self._ending in ("killed", "power", how):
            return
        self._ending = how
        self.crashes[f"{how} at {where}"] = self.crashes.get(f"{how} at {where}", 0) + 1
        self.say(f"dies: {how} at {where}")
        self._end_now.set()
        if how != "closed":
            self._crashes_now.set()

    # -- the keeper

    async def keep(self) -> None:
        """Start it, watch it, clean up after it, and start it again, until `end`."""
        rng = self._crash_chance
        while not self._over:
            await self._life()
            await pass_time(rng.choice([0.2, 2.0, 30.0]) if self.faults.crash_at_step else 0.2)

    def end(self) -> None:
        """Close it in order, and start it no more."""
        self._over = True
        self.die("closed", "the end")

    async def _life(self) -> None:
        self._ending, self._end_now, self._compared = "", asyncio.Event(), False
        self._crashes_now = asyncio.Event()
        ledger = DiskLedger(self.disk)
        executors = {name: SimulatedExecutor(name, machine) for name, machine in self.machines.items()}
        runtime = Runtime(ledger, executors, self.samples, clock=self.clock)
        supervisors: list[Supervisor] = []
        self.say("starts")
        living = asyncio.create_task(self._live(runtime, supervisors))
        dying = asyncio.create_task(self._end_now.wait())
        await asyncio.wait({living, dying}, return_when=asyncio.FIRST_COMPLETED)
        self.runtime = None
        if self._ending in ("killed", "power"):
            self._strike(ledger, executors)
        dying.cancel()
        living.cancel()
        (ended, _) = await asyncio.gather(living, dying, return_exceptions=True)
        self._judge_end(ended)
        self._judge_stop(runtime)
        for supervisor in supervisors:
            await supervisor.close()
        if self._ending not in ("killed", "power"):
            await self._close(runtime)
        if self._ending in ("killed", "power"):  # perhaps while it was closed in order
            self._strike(ledger, executors)
            await runtime.abandon()
            if self._ending == "power":
                lost = self.disk.lose_power(self._crash_chance)
                self.say(f"the power was cut: {lost} bytes were not synced")
        self.say("is gone")

    async def _close(self, runtime: Runtime) -> None:
        """In order, unless it dies over that."""
        closing = asyncio.create_task(runtime.close())
        crashing = asyncio.create_task(self._crashes_now.wait())
        await asyncio.wait({closing, crashing}, return_when=asyncio.FIRST_COMPLETED)
        crashing.cancel()
        if self._ending in ("killed", "power"):
            closing.cancel()
        await asyncio.gather(closing, crashing, return_exceptions=True)
        if not closing.cancelled() and (error := closing.exception()) is not None:
            self.fail(f"it could not be closed: {error!r}")

    @staticmethod
    def _strike(ledger: DiskLedger, executors: dict[str, SimulatedExecutor]) -> None:
        """Dead at this moment, whatever still runs on."""
        ledger.kill()
        for executor in executors.values():
            executor.kill()

    async def _live(self, runtime: Runtime, supervisors: list[Supervisor]) -> None:
        await runtime.open(town.configure, look=["cloud"])
        loop = asyncio.get_running_loop()
        supervisor = Supervisor(
            RuntimePort(runtime) if self.sees_ahead else Blind(runtime),
            self.brain,
            self.fallback,
            cycle_s=4.0,
            timeout_s=6.0,
            checkpoints=None,
            wait=lambda seconds: self.clock.wait(10 * seconds if self.brain.calm else seconds),
            clock=loop.time,
        )
        supervisors.append(supervisor)
        await supervisor.start()
        self.runtime = runtime
        self.say("serves")
        await runtime.loop.stopped.wait()

    def _judge_end(self, ended: object) -> None:
        """A disk, a full queue or a machine that does not answer may end it; nothing else may."""
        if isinstance(ended, LedgerCorrupt) or (
            isinstance(ended, Exception)
            and not isinstance(ended, LedgerFailed | RuntimeStopped | ExecutorError | Refused)
        ):
            self.fail(f"the runtime could not start: {ended!r}")

    def _judge_stop(self, runtime: Runtime) -> None:
        """Why it stopped by itself, unless the disk failed it."""
        error = runtime.loop.failure
        if error is not None and not isinstance(error, AgentorchError):
            self.fail(f"the runtime stopped itself: {error!r}")

    # -- asking

    async def ask(self, command: Any) -> Any:
        """Raises Refused, RuntimeStopped (also when it is not there)."""
        if self.runtime is None:
            raise RuntimeStopped("nobody answers")
        return await self.runtime.ask(command)

    def rng(self, name: str) -> random.Random:
        return self.chance.stream(name)


def _brief(event: Any) -> str:
    return f"{EVENT_NAMES[type(event)]} {str(event)[:220]}"


def _difference(live: State, fold: State) -> str:
    for name in live.facts.__struct_fields__:
        mine, other = getattr(live.facts, name), getattr(fold.facts, name)
        if mine != other:
            if isinstance(mine, dict) and mine.keys() == other.keys():
                odd = [key for key in mine if mine[key] != other[key]]
                return f"{name}: {[(key, mine[key], other[key]) for key in odd[:2]]}"[:600]
            return f"{name}: {mine!r} and {other!r}"[:600]
        if encode_one(mine) != encode_one(other):
            return f"the order in {name}: {mine!r} and {other!r}"[:900]
    return "nothing that can be seen"
