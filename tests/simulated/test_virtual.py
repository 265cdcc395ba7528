"""The parts that seeds are made of: time that jumps, a disk that forgets, a clock that is set, and that it is all one
stream of chance."""

from __future__ import annotations

import asyncio
import random
import threading

import pytest

from agentorch.errors import ExecutorError, LedgerFailed
from agentorch.executors.fake import Plan
from agentorch.model.attempts import AttemptPhase, AttemptSpec
from agentorch.simulation.faults.chance import Chance
from agentorch.simulation.faults.clock import START_MS, JumpingClock
from agentorch.simulation.faults.disk import Disk, DiskError, DiskLedger, Step
from agentorch.simulation.faults.loop import Outside, Standstill, run_virtually
from agentorch.simulation.faults.machine import Machine, SimulatedExecutor, Weather
from tests.ledger.samples import contents, event, events
from tests.simulated.seeds import run_seed


def test_time_jumps_to_the_next_timer() -> None:
    async def scenario() -> list[tuple[str, float]]:
        loop, seen = asyncio.get_running_loop(), list[tuple[str, float]]()

        async def sleeper(name: str, seconds: float) -> None:
            async with asyncio.timeout(2 * seconds):
                await JumpingClock().wait(seconds)
            seen.append((name, loop.time()))

        await asyncio.gather(sleeper("day", 86_400.0), sleeper("second", 1.0), sleeper("hour", 3_600.0))
        return seen

    seen, loop = run_virtually(scenario())
    assert seen == [("second", 1.0), ("hour", 3_600.0), ("day", 86_400.0)]
    assert loop.time() == 86_400.0


def test_threads_sockets_and_processes_are_refused() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        with pytest.raises(Outside):
            await asyncio.to_thread(int)
        with pytest.raises(Outside):
            await asyncio.open_connection("127.0.0.1", 1)
        with pytest.raises(Outside):
            await asyncio.create_subprocess_exec("true")
        refused: list[BaseException] = []

        def from_outside() -> None:
            try:
                loop.call_soon_threadsafe(int)
            except Outside as error:
                refused.append(error)

        thread = threading.Thread(target=from_outside)
        thread.start()
        thread.join()
        assert len(refused) == 1

    run_virtually(scenario())


def test_a_standstill_is_no_endless_wait() -> None:
    async def waits_for_nobody() -> None:
        await asyncio.Event().wait()

    async def spins() -> None:
        loop = asyncio.get_running_loop()

        def again() -> None:
            loop.call_soon(again)

        again()
        await asyncio.Event().wait()

    for stuck in (waits_for_nobody, spins):
        with pytest.raises(Standstill):
            run_virtually(stuck())


def test_a_clock_is_set_and_time_goes_on() -> None:
    async def scenario() -> None:
        clock = JumpingClock()
        await clock.wait(10)
        clock.jump(-4_000)
        await clock.wait(1)
        assert (clock.true_ms(), clock.now_ms()) == (11_000, START_MS + 7_000)
        assert [clock.wall_ms(at) - START_MS for at in (0, 9_999, 10_500)] == [0, 9_999, 6_500]

    run_virtually(scenario())


def test_streams_do_not_depend_on_each_other() -> None:
    chance = Chance(7)
    first = [chance.stream("a").random() for _ in range(2)]
    assert first[0] == first[1] == Chance(7).stream("a").random()
    assert len({first[0], chance.stream("b").random(), Chance(8).stream("a").random()}) == 3


@pytest.mark.parametrize("at", list(Step))
@pytest.mark.parametrize("power", [False, True])
def test_a_crash_in_a_commit_keeps_what_was_told_and_nothing_in_halves(at: Step, power: bool) -> None:
    async def scenario(seed: int) -> int:
        disk = Disk()
        ledger = DiskLedger(disk)
        await ledger.open()
        assert await ledger.commit(events(1, 3), 1) == 3
        dead = asyncio.Event()

        async def die(step: Step, body: bytes) -> None:
            if step is at:
                dead.set()
                await asyncio.Event().wait()

        disk.step = die
        second = asyncio.create_task(ledger.commit(events(4, 40), 2))
        await dead.wait()
        ledger.kill()
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        if power:
            disk.lose_power(random.Random(seed))
        again = DiskLedger(disk)
        found = await again.open()
        assert await contents(again) == [(seq, event(seq)) for seq in range(1, found.last_seq + 1)]
        return found.last_seq

    lengths = {run_virtually(scenario(seed))[0] for seed in range(20)}
    assert lengths <= {3, 43}
    if at is Step.synced or (at is Step.written and not power):
        assert lengths == {43}
    if at in (Step.begun, Step.torn):
        assert lengths == {3}


def test_after_a_disk_error_a_ledger_takes_nothing_more_until_it_is_opened_again() -> None:
    async def scenario() -> None:
        disk = Disk()
        ledger = DiskLedger(disk)
        await ledger.open()

        async def full(step: Step, body: bytes) -> None:
            if step is Step.torn:
                raise DiskError("no space left on device")

        before, disk.step = disk.step, full
        for _ in range(2):
            with pytest.raises(LedgerFailed):
                await ledger.commit(events(1, 3), 1)
            disk.step = before
        await ledger.close()
        assert (await ledger.open()).last_seq == 0
        assert await ledger.commit(events(1, 3), 1) == 3

    run_virtually(scenario())


def _spec(name: str) -> AttemptSpec:
    return AttemptSpec(id=f"{name}.1", job=name, number=1, worker="w", command=("true",))


def test_a_message_outlives_its_sender_and_a_fenced_attempt_never_starts() -> None:
    async def scenario() -> None:
        clock = JumpingClock()
        began: list[str] = []
        machine = Machine(clock, random.Random(1), lambda spec: Plan(), launched=lambda spec: began.append(spec.id))
        machine.weather = Weather(latency_ms=(100, 100))
        first = SimulatedExecutor("house", machine)
        await first.open(1)
        for name, wait_s in (("early", 0.2), ("late", 0.05)):
            sender = asyncio.create_task(first.launch([_spec(name)]))
            await clock.wait(wait_s)
            sender.cancel()
        first.kill()
        second = SimulatedExecutor("house", machine)
        await second.open(2)
        found = await second.inspect(["early.1", "late.1"])
        assert [status.phase for status in found] == [AttemptPhase.running, AttemptPhase.absent]
        await clock.wait(10)
        assert began == ["early.1"]
        with pytest.raises(ExecutorError):
            await first.launch([_spec("older")])
        await second.close()

    run_virtually(scenario())


def test_the_end_of_an_attempt_is_told_late_and_twice_but_told() -> None:
    async def scenario() -> list[str]:
        machine = Machine(JumpingClock(), random.Random(3), lambda spec: Plan(run_ms=10))
        machine.weather = Weather(latency_ms=(1, 5), twice=0.5, late_ms=1_000)
        machine.start()
        executor = SimulatedExecutor("house", machine)
        await executor.open(1)
        await executor.launch([_spec(f"job-{number}") for number in range(20)])
        told: list[str] = []
        async for status in executor.events():
            told.append(status.id)
            if len(set(told)) == 20:
                break
        await executor.close()
        if machine.task is not None:
            machine.task.cancel()
        return told

    told, _ = run_virtually(scenario())
    assert len(told) > 20
    assert told != sorted(told)


def test_the_same_seed_is_the_same_life() -> None:
    first, second = run_seed(12), run_seed(12)
    assert first == second
    assert first.hash != run_seed(13).hash
