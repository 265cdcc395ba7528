"""Nodes that stop answering, come back, are released or vanish; and what is told of the attempts on them."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path

import pytest

from agentorch.errors import ExecutorError, NodeUnreachable, ProvisioningError
from agentorch.model.attempts import AttemptPhase, AttemptSpec
from agentorch.model.fleet import NodeState
from agentorch.model.jobs import Cause, EntryPoint
from tests.executors.ends import until_logged
from tests.executors.processes import kill, marked, shim_of
from tests.executors.remote.cluster import Cluster, Cuttable, opened, until_state
from tests.executors.rigs import shell
from tests.executors.waiting import eventually

#: Seconds. Short leases, so that tests need not wait long for their end; long enough for a machine that is busy.
SHORT = {"lease_s": 3.0, "margin_s": 1.0, "patience_s": 30.0}


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path, nodes=2)
    yield made
    made.close()


def on(node: str, name: str, script: str = "sleep 600") -> AttemptSpec:
    return shell(name, script, node=node)


def test_attempts_run_where_they_were_placed_and_nodes_say_what_they_have(cluster: Cluster) -> None:
    async def run() -> None:
        async with opened(cluster) as (executor, told):
            one, two = await executor.nodes()
            assert (one.id, one.type, one.state, two.id) == ("node-1", "cpu", NodeState.up, "node-2")
            assert one.cpu_milli >= 1_000
            assert {sample.node for sample in one.samples} == {"node-1"}
            assert all(0 <= executor._clock_ms() - sample.at_ms < 60_000 for sample in one.samples)
            await executor.launch([on("node-2", "a", "exit 3"), on("node-1", "b", "exit 4")])
            a, b = await told.of("a.1", "b.1")
            assert (a.exit_code, b.exit_code) == (3, 4)
            assert (cluster.attempts("node-2") / "a.1").exists()
            assert (cluster.attempts("node-1") / "b.1").exists()
            (unplaced,) = await executor.launch([on("node-9", "c", "exit 0")])
            assert (unplaced.phase, unplaced.cause) == (AttemptPhase.lost, Cause.no_capacity)
            assert "node-9" in unplaced.message

    asyncio.run(run())


def test_a_lost_node_with_ten_jobs_is_told_once_for_each_after_its_lease(cluster: Cluster) -> None:
    async def run() -> None:
        transport = cluster.transport()
        async with opened(cluster, transport=transport, **SHORT) as (executor, told):
            names = [f"j{number}" for number in range(10)]
            attempts = [f"{name}.1" for name in names]
            await executor.launch([on("node-1", name) for name in names])
            await executor.launch([on("node-2", "other")])
            transport.cut.add("node-1")
            await until_state(executor, "node-1", NodeState.suspect)
            assert [status.phase for status in await executor.inspect(attempts)] == [AttemptPhase.running] * 10
            for status in await told.of(*attempts):
                # Told after the last of them has ended, there, by itself.
                assert marked(cluster.attempts("node-1"), status.id) == []
                assert (status.phase, status.cause) == (AttemptPhase.lost, Cause.node_lost)
                assert status.message.startswith("node_lost: node node-1")
            await until_state(executor, "node-1", NodeState.down)
            (refused,) = await executor.launch([on("node-1", "late")])
            assert refused.cause is Cause.no_capacity

            transport.cut.clear()
            await until_state(executor, "node-1", NodeState.up)
            assert {status.phase for status in await executor.inspect(attempts)} == {AttemptPhase.lost}
            assert {status.phase for status in await executor.launch([on("node-1", names[0])])} == {AttemptPhase.lost}
            await executor.launch([on("node-1", "again", "exit 7")])
            assert (await told.of("again.1"))[0].exit_code == 7
            assert {told.times[attempt] for attempt in attempts} == {1}
            assert "other.1" not in told.times
            await executor.stop("other.1", "cancelled", 0)
            await told.of("other.1")

    asyncio.run(run())


def test_a_node_that_comes_back_in_time_goes_on(cluster: Cluster) -> None:
    async def run() -> None:
        transport = cluster.transport()
        async with opened(cluster, transport=transport) as (executor, told):
            fifo = cluster.root / "go"
            os.mkfifo(fifo)
            await executor.launch([on("node-1", "a", f"read line < {fifo}; exit 5"), on("node-1", "b")])
            transport.cut.add("node-1")
            await until_state(executor, "node-1", NodeState.suspect)
            await asyncio.to_thread(fifo.write_text, "go\n")
            await executor.stop("b.1", "preempted", 60_000)  # kept until it can be delivered
            with pytest.raises(NodeUnreachable, match="node-1"):
                await executor.logs("a.1", "stdout", 0, 10)
            assert not told.times
            transport.cut.clear()
            a, b = await told.of("a.1", "b.1")
            assert (a.exit_code, b.cause, b.signal) == (5, Cause.preempted, 15)
            await until_state(executor, "node-1", NodeState.up)

    asyncio.run(run())


def test_a_launch_whose_answer_was_lost_runs_once_and_one_that_never_arrived_runs_later(cluster: Cluster) -> None:
    async def run() -> None:
        transport = cluster.transport()
        async with opened(cluster, transport=transport) as (executor, told):
            runs = cluster.root / "runs"
            transport.deaf.add("node-1")
            (unknown,) = await executor.launch([on("node-1", "a", f"echo run >> {runs}-a")])
            assert (unknown.phase, unknown.started_ms) == (AttemptPhase.running, None)
            transport.cut.add("node-1")
            await until_state(executor, "node-1", NodeState.suspect)
            launching = asyncio.create_task(executor.launch([on("node-1", "b", f"echo run >> {runs}-b")]))
            assert (await launching)[0].phase is AttemptPhase.running
            assert not Path(f"{runs}-b").exists()
            transport.cut.clear()
            transport.deaf.clear()
            a, b = await told.of("a.1", "b.1")
            assert (a.exit_code, b.exit_code) == (0, 0)
            assert Path(f"{runs}-a").read_text() == Path(f"{runs}-b").read_text() == "run\n"

    asyncio.run(run())


def test_a_node_that_answers_nothing_keeps_no_other_waiting(cluster: Cluster) -> None:
    async def run() -> None:
        async with opened(cluster) as (executor, _):
            await executor.nodes()  # every agent runs: only then can one be stopped
        async with opened(cluster, epoch=2, patience_s=0.5) as (executor, told):
            cluster.signal_agent("node-1", signal.SIGSTOP)
            try:
                stuck, fine = await executor.launch([on("node-1", "stuck", "exit 1"), on("node-2", "fine", "exit 2")])
                assert stuck.started_ms is None
                assert fine.started_ms is not None
                assert (await told.of("fine.1"))[0].exit_code == 2
                assert "stuck.1" not in told.times
            finally:
                cluster.signal_agent("node-1", signal.SIGCONT)
            assert (await told.of("stuck.1"))[0].exit_code == 1

    asyncio.run(run())


def test_a_restart_while_a_node_is_unreachable_waits_for_the_leases_of_the_runtime_before(cluster: Cluster) -> None:
    async def run() -> None:
        async with opened(cluster, **SHORT) as (executor, _):
            await executor.launch([on("node-1", "a"), on("node-2", "b")])
        where = {"a.1": "node-1", "b.1": "node-2", "gone.1": "node-7"}
        transport = cluster.transport()
        transport.cut.add("node-1")
        settings = {**SHORT, "patience_s": 1.0}
        async with opened(cluster, 2, transport, placement=where.get, **settings) as (executor, told):
            a, b, gone = await executor.inspect(["a.1", "b.1", "gone.1"])
            assert a.phase is b.phase is gone.phase is AttemptPhase.running  # two of them: who knows
            assert b.started_ms is not None
            for status in await told.of("a.1", "gone.1"):
                assert (status.phase, status.cause) == (AttemptPhase.lost, Cause.node_lost)
            assert marked(cluster.attempts("node-1"), "a.1") == []
            assert marked(cluster.attempts("node-2"), "b.1") != []
            transport.cut.clear()
            await until_state(executor, "node-1", NodeState.up)
            await executor.stop("b.1", "cancelled", 0)
            assert (await told.of("b.1"))[0].cause is Cause.cancelled
            assert told.times == {"a.1": 1, "b.1": 1, "gone.1": 1}

    asyncio.run(run())


def test_what_was_ordered_and_never_arrived_is_fenced_when_its_node_answers_again(cluster: Cluster) -> None:
    async def run() -> None:
        transport = cluster.transport()
        async with opened(cluster, transport=transport):
            pass
        transport = cluster.transport()
        transport.cut.add("node-1")
        async with opened(cluster, 2, transport, placement=lambda _: "node-1", patience_s=0.5) as (executor, told):
            (unknown,) = await executor.inspect(["a.1"])
            assert unknown.phase is AttemptPhase.running
            transport.cut.clear()
            (status,) = await told.of("a.1")
            assert (status.phase, status.cause) == (AttemptPhase.lost, Cause.requeued)
            (again,) = await executor.launch([on("node-1", "a", "exit 0")])
            assert again.phase is AttemptPhase.lost

    asyncio.run(run())


def test_a_killed_agent_is_opened_again_and_asked_about_everything(cluster: Cluster) -> None:
    async def run() -> None:
        async with opened(cluster) as (executor, told):
            fifo = cluster.root / "go"
            os.mkfifo(fifo)
            await executor.launch([on("node-1", "a", f"read line < {fifo}; exit 5"), on("node-1", "b")])
            cluster.kill_agent("node-1")
            kill(shim_of(cluster.attempts("node-1"), "b.1"))
            await asyncio.to_thread(fifo.write_text, "go\n")
            a, b = await told.of("a.1", "b.1")
            assert (a.exit_code, b.phase, b.message) == (5, AttemptPhase.lost, "its shim was killed")
            await until_state(executor, "node-1", NodeState.up)
            assert told.times == {"a.1": 1, "b.1": 1}

    asyncio.run(run())


def test_a_released_node_leaves_its_logs_behind(cluster: Cluster) -> None:
    async def run() -> None:
        async with opened(cluster) as (executor, told):
            script = "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done; echo oops >&2"
            await executor.launch([on("node-1", "a", script), on("node-1", "b")])
            await told.of("a.1")
            with pytest.raises(ProvisioningError, match=r"b\.1 may still run there"):
                await executor.scale("cpu", 1, ["node-1"])
            await executor.stop("b.1", "cancelled", 0)
            await told.of("b.1")
            before = await executor.logs("a.1", "stdout", 0, 1 << 20)
            await executor.scale("cpu", 1, ["node-1"])
            await executor.scale("cpu", 1, ["node-1"])
            assert [info.id for info in await executor.nodes()] == ["node-2"]
            assert not (cluster.root / "nodes" / "node-1").exists()
            assert await executor.logs("a.1", "stdout", 0, 1 << 20) == before
            assert before[2]
            assert await executor.logs("a.1", "stdout", 5, 6) == (before[0][5:11], 11, False)
            assert await executor.logs("a.1", "stderr", 0, 100) == (b"oops\n", 5, True)
            assert await executor.logs("b.1", "stdout", 0, 100) == (b"", 0, True)

    asyncio.run(run())


def test_a_log_is_there_while_its_node_is_being_released(cluster: Cluster) -> None:
    class Watched(Cuttable):
        """Reads a log between the end of a node and the moment at which the executor hears of it."""

        def __init__(self) -> None:
            super().__init__(cluster.root / "nodes", {"cpu": 2})
            self.read: Callable[[], Awaitable[tuple[bytes, int, bool]]] | None = None
            self.seen = b""

        async def resize(self, node_type: str, target: int, remove: Sequence[str]) -> None:
            await super().resize(node_type, target, remove)
            assert self.read is not None
            self.seen, _, _ = await self.read()

    transport = Watched()

    async def run() -> None:
        async with opened(cluster, transport=transport) as (executor, told):
            await executor.launch([on("node-1", "a", "echo kept")])
            await told.of("a.1")
            transport.read = lambda: executor.logs("a.1", "stdout", 0, 100)
            await executor.scale("cpu", 1, ["node-1"])

    asyncio.run(run())
    assert transport.seen == b"kept\n"


def test_a_function_is_called_on_a_node_and_its_result_and_log_come_home(cluster: Cluster) -> None:
    (cluster.root / "words.py").write_text("def shout(word):\n    print('heard', word)\n    return word.upper()\n")

    async def run() -> None:
        async with opened(cluster) as (executor, told):
            entry = EntryPoint(call="words:shout", args=("hello",))
            spec = AttemptSpec(
                id="a.1", job="a", number=1, worker="w", node="node-1", entry=entry, workdir=str(cluster.root)
            )
            await executor.launch([spec, on("node-1", "b", "exit 3")])
            a, b = await told.of("a.1", "b.1")
            assert (a.cause, a.result, b.exit_code) == (Cause.completed, '"HELLO"', 3)
            assert await executor.logs("a.1", "stdout", 0, 100) == (b"heard hello\n", 12, True)
            await executor.scale("cpu", 1, ["node-1"])
            assert await executor.logs("a.1", "stdout", 0, 100) == (b"heard hello\n", 12, True)

    asyncio.run(run())


def test_nodes_come_and_are_never_called_by_a_name_that_was_used(cluster: Cluster) -> None:
    async def run() -> None:
        async with opened(cluster) as (executor, told):
            await executor.scale("gpu", 1, [])
            assert (await until_state(executor, "node-3", NodeState.up)).type == "gpu"
            await executor.scale("gpu", 1, ["node-3"])
            await until_state(executor, "node-4", NodeState.up)
            await executor.launch([on("node-4", "a", "exit 6")])
            assert (await told.of("a.1"))[0].exit_code == 6
            await executor.scale("gpu", 0, ["node-4"])
            assert [info.id for info in await executor.nodes()] == ["node-1", "node-2"]

    asyncio.run(run())


def test_a_node_that_vanishes_is_down_once_and_then_forgotten_with_its_logs(cluster: Cluster) -> None:
    async def run() -> None:
        transport = cluster.transport()
        async with opened(cluster, transport=transport, **SHORT) as (executor, told):
            await executor.launch([on("node-1", "a", "echo ready; sleep 600")])
            await until_logged(executor, "a.1", b"ready")
            transport.vanished.add("node-1")
            (status,) = await told.of("a.1")
            assert status.cause is Cause.node_lost
            assert marked(cluster.attempts("node-1"), "a.1") == []
            await until_state(executor, "node-1", NodeState.down)
            assert [info.id for info in await executor.nodes()] == ["node-2"]
            with pytest.raises(ExecutorError, match="was on node node-1, which is gone"):
                await executor.logs("a.1", "stdout", 0, 10)
            eventually(lambda: not marked(cluster.attempts("node-1"), "a.1"), "the end of it")

    asyncio.run(run())


def test_a_node_that_is_to_be_taken_away_sends_its_logs_home(cluster: Cluster) -> None:
    async def run() -> None:
        transport = cluster.transport()
        async with opened(cluster, transport=transport, **SHORT) as (executor, told):
            kept = cluster.root / "control" / "archive"
            await executor.launch([on("node-1", "before", "echo one"), on("node-1", "after", "echo two; sleep 600")])
            await told.of("before.1")
            transport.notices["node-1"] = 1_800_000_000_000
            await asyncio.to_thread(eventually, (kept / "before.1").exists, "the log of what had ended")
            assert (await until_state(executor, "node-1", NodeState.up)).notice_ms == 1_800_000_000_000
            await executor.stop("after.1", "interruption", 0)
            await asyncio.to_thread(eventually, (kept / "after.1").exists, "the log of what has just ended")
            transport.vanished.add("node-1")
            await until_state(executor, "node-1", NodeState.down)
            assert await executor.logs("before.1", "stdout", 0, 100) == (b"one\n", 4, True)
            assert await executor.logs("after.1", "stdout", 0, 100) == (b"two\n", 4, True)

    asyncio.run(run())


def test_leases_longer_than_may_be_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ExecutorError, match="at most 600 s"):
        Cluster(tmp_path).executor(lease_s=601.0)
