"""The living runtime: loop, executors and telemetry put together. The HTTP API is served from it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

from agentorch.core.facts import Facts
from agentorch.core.instruct import Instruction, Resize
from agentorch.core.state import State
from agentorch.errors import ExecutorError, NodeUnreachable, Refused
from agentorch.executors.contract import Executor
from agentorch.ledger.contract import Ledger
from agentorch.model import commands as cmd
from agentorch.model.attempts import parse_attempt_id
from agentorch.model.jobs import Attempt, Job
from agentorch.model.observation import DeviceSample
from agentorch.runtime.broadcast import Batch
from agentorch.runtime.clock import Clock, WallClock
from agentorch.runtime.fleet import Fleet
from agentorch.runtime.health import HealthWatch
from agentorch.runtime.loop import Loop
from agentorch.runtime.performer import Performer
from agentorch.runtime.source import Verification
from agentorch.runtime.verification import verify


class Telemetry(Protocol):
    """What the runtime needs of telemetry: the newest samples and their past; other nodes' samples are handed to it."""

    def absorb(self, samples: Sequence[DeviceSample]) -> None: ...

    def latest(self) -> tuple[DeviceSample, ...]: ...

    def history(self, device: str) -> list[DeviceSample]: ...


def no_environment(job: Job) -> dict[str, str]:
    """Nothing is added to a job's own environment."""
    return {}


class Runtime:
    """Fulfils `runtime.source.Source`. `await open()`, use, `await close()`."""

    read_only = False

    def __init__(
        self,
        ledger: Ledger,
        executors: Mapping[str, Executor],
        telemetry: Telemetry,
        *,
        clock: Clock | None = None,
        environment: Callable[[Job], dict[str, str]] = no_environment,
        name: str = "agentorch",
    ) -> None:
        self.name = name
        self.telemetry = telemetry
        self.clock: Clock = clock if clock is not None else WallClock()
        self.performer = Performer(executors, environment, self._look_at_nodes)
        self.fleet = Fleet(executors, telemetry)
        self.health = HealthWatch(telemetry.latest)
        self.loop = Loop(ledger, self.clock, self._perform)
        self.performer.attach(self.loop)
        self.fleet.attach(self.loop)
        self.health.attach(self.loop)

    async def open(
        self, configure: Callable[[Facts], Sequence[cmd.Command]] = lambda facts: (), *, look: Collection[str] = ()
    ) -> None:
        """Fold, verify, recover every attempt, apply the configuration, and begin to schedule.

        `configure` is asked once what to change, given the facts that the ledger amounts to. The nodes of the executors
        in `look` are known to it.

        Raises LedgerError, ExecutorError, Refused (a configuration that can't be).
        """
        epoch = await self.loop.open()
        await self.performer.open(epoch)
        await self.performer.recover()
        self.performer.start()
        # Nodes first: a pool that finds them there asks for no others.
        await self.fleet.look(sorted({*look, *self.fleet.elastic()}))
        for command in configure(self.loop.state.facts):
            await self.loop.ask(command)
        self.fleet.repeat()
        self.fleet.start()
        self.health.start()
        self.loop.start()

    async def close(self) -> None:
        """Stop in order; running work goes on and is found again."""
        await self.health.close()
        await self.fleet.close()
        await self.performer.close()
        await self.loop.close()

    async def abandon(self) -> None:
        """Drop everything at once, as a crash would. For simulation."""
        await self.health.close()
        await self.fleet.close()
        await self.performer.close()
        await self.loop.abandon()

    def _perform(self, orders: list[Instruction]) -> None:
        self.fleet.perform([order for order in orders if isinstance(order, Resize)])
        self.performer.perform([order for order in orders if not isinstance(order, Resize)])

    async def _look_at_nodes(self, executor: str) -> None:
        if executor in self.fleet.elastic():
            await self.fleet.look([executor])

    # -- Source

    def now_ms(self) -> int:
        return self.loop.now_ms()

    async def view(self, at: int | None = None) -> State:
        if at is not None and at != self.loop.state.facts.seq:
            raise Refused("invalid", "a running server shows the present; open a ledger file to look back")
        await self.loop.settled()
        return self.loop.state

    async def settled(self) -> None:
        await self.loop.settled()

    @property
    def last_seq(self) -> int:
        return self.loop.durable_seq

    @property
    def head_hash(self) -> str:
        return self.loop.head_hash

    async def ask(self, command: cmd.Command) -> Any:
        return await self.loop.ask(command)

    async def ask_all(self, commands: Sequence[cmd.Command]) -> list[Any]:
        return await self.loop.ask_all(commands)

    def follow(self, after: int) -> AsyncIterator[Batch]:
        return self.loop.follow(after)

    def devices(self) -> tuple[DeviceSample, ...]:
        return self.telemetry.latest()

    def device_history(self, device: str) -> list[DeviceSample]:
        return self.telemetry.history(device)

    async def logs(self, attempt: str, stream: str, offset: int, limit: int) -> tuple[bytes, int, bool]:
        job, number, rank = parse_attempt_id(attempt)
        found = self.loop.state.facts.jobs.get(job)
        known = next((one for one in found.attempts if one.number == number), None) if found is not None else None
        if known is None or rank >= len(known.members):
            raise Refused("not_found", f"there is no attempt {attempt!r}")
        problem = f"the executor that ran {attempt} is not configured any more"
        for executor in self._may_have_run(known):
            try:
                return await executor.logs(attempt, stream, offset, limit)
            except (NodeUnreachable, OSError) as error:
                raise Refused("unreachable", f"{attempt}: {error}", retry_after_s=5) from error
            except ExecutorError as error:
                problem = str(error)
        raise Refused("not_found", problem)

    def _may_have_run(self, attempt: Attempt) -> list[Executor]:
        """Its pool's executor; any, when that pool is not there any more."""
        executors = self.performer.executors
        pool = self.loop.state.facts.pools.get(attempt.pool)
        if pool is None:
            return list(executors.values())
        return [executors[pool.spec.executor]] if pool.spec.executor in executors else []

    async def verify(self) -> Verification:
        return await verify(self.loop.ledger)
