"""What becomes of attempts when the parts of a Slurm cluster die, one after the other."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from agentorch.errors import NodeUnreachable
from agentorch.executors.slurm.batch import submission
from agentorch.executors.slurm.executor import SlurmExecutor
from agentorch.executors.slurm.names import job_name
from agentorch.executors.slurm.tools import SlurmTools
from agentorch.model.attempts import AttemptPhase
from agentorch.model.fleet import NodeState
from agentorch.model.jobs import Cause
from tests.executors.ends import Ends, until_logged
from tests.executors.processes import kill, marked, shim_of
from tests.executors.rigs import shell
from tests.executors.test_trees import family
from tests.executors.waiting import eventually
from tests.slurm.cluster import SlurmCluster
from tests.slurm.rig import SlurmRig

FOREVER = "echo ready; sleep 600"


def play(rig: SlurmRig, scenario: Callable[[SlurmExecutor, Ends], Awaitable[None]]) -> None:
    async def run() -> None:
        executor = rig.executor()
        await executor.open(1)
        try:
            async with Ends(executor) as ends:
                await scenario(executor, ends)
        finally:
            await executor.close()

    asyncio.run(run())


def guard_of(shim: int) -> int:
    """The parent of the shim."""
    return int(Path(f"/proc/{shim}/stat").read_text().rpartition(")")[2].split()[1])


def name_in_slurm(rig: SlurmRig, attempt: str) -> str:
    return job_name((rig.root / ".name").read_text(), attempt)


async def eventually_async(look: Callable[[], object], what: str) -> None:
    await asyncio.to_thread(eventually, look, what)


@pytest.fixture
def controller(cluster: SlurmCluster) -> Iterator[SlurmCluster]:
    """A test that takes the controller away; it is there again, and answers, for the next one."""
    yield cluster
    if "slurmctld" not in cluster.running():
        cluster.start_daemon("slurmctld")
    eventually(cluster.is_well, "nodes")


def test_a_stop_leaves_no_descendant_though_slurm_does_not_track_them(rig: SlurmRig) -> None:
    async def scenario(executor: SlurmExecutor, ends: Ends) -> None:
        await executor.launch([family("a")])
        await until_logged(executor, "a.1", b"ready")
        await eventually_async(lambda: len(marked(rig.root, "a.1")) == 5, "a family of five")
        await executor.stop("a.1", "cancelled", 300)
        status = await ends.of("a.1")
        assert status.cause is Cause.cancelled
        assert status.leftovers > 0
        assert marked(rig.root, "a.1") == []

    play(rig, scenario)


def test_a_killed_shim_leaves_its_tree_to_the_guard(rig: SlurmRig) -> None:
    async def scenario(executor: SlurmExecutor, ends: Ends) -> None:
        await executor.launch([family("a")])
        await until_logged(executor, "a.1", b"ready")
        await eventually_async(lambda: len(marked(rig.root, "a.1")) == 5, "a family of five")
        kill(shim_of(rig.root, "a.1"))
        status = await ends.of("a.1")
        assert (status.phase, status.cause, status.message) == (AttemptPhase.lost, Cause.lost, "its shim was killed")
        assert status.started_ms is not None
        assert marked(rig.root, "a.1") == []

    play(rig, scenario)


def test_a_killed_guard_leaves_its_tree_to_the_shim(rig: SlurmRig) -> None:
    async def scenario(executor: SlurmExecutor, ends: Ends) -> None:
        await executor.launch([family("a")])
        await until_logged(executor, "a.1", b"ready")
        await eventually_async(lambda: len(marked(rig.root, "a.1")) == 5, "a family of five")
        kill(guard_of(shim_of(rig.root, "a.1")))
        status = await ends.of("a.1")
        assert (status.phase, status.cause) == (AttemptPhase.ended, Cause.interruption)
        assert marked(rig.root, "a.1") == []

    play(rig, scenario)


def test_an_attempt_whose_guard_and_shim_were_killed_at_once_is_lost_by_slurms_word(rig: SlurmRig) -> None:
    async def scenario(executor: SlurmExecutor, ends: Ends) -> None:
        await executor.launch([shell("a", "exec sleep 600")])
        shim = shim_of(rig.root, "a.1")
        both = (shim, guard_of(shim))
        for number in (signal.SIGSTOP, signal.SIGKILL):  # stopped first: neither can do anything for the other
            for pid in both:
                os.kill(pid, number)
        status = await ends.of("a.1")
        assert (status.phase, status.cause, status.exit_code) == (AttemptPhase.lost, Cause.lost, None)
        assert "Slurm says" in status.message
        assert marked(rig.root, "a.1") == []

    play(rig, scenario)


def test_somebody_elses_scancel_is_an_interruption(rig: SlurmRig) -> None:
    async def scenario(executor: SlurmExecutor, ends: Ends) -> None:
        await executor.launch([shell("a", "trap 'echo bye; exit 0' TERM; echo ready; sleep 600 & wait")])
        await until_logged(executor, "a.1", b"ready")
        await asyncio.to_thread(
            rig.cluster.command, "scancel", "--batch", "-s", "TERM", f"-n{name_in_slurm(rig, 'a.1')}"
        )
        status = await ends.of("a.1")
        assert (status.phase, status.cause, status.exit_code) == (AttemptPhase.ended, Cause.interruption, 0)
        assert (await executor.logs("a.1", "stdout", 0, 100))[0] == b"ready\nbye\n"

    play(rig, scenario)


def test_what_waits_in_the_queue_can_be_stopped_found_and_taken_away(rig: SlurmRig) -> None:
    rig.options = rig.quick(start_wait_s=0.5)

    async def run() -> None:
        first = rig.executor()
        await first.open(1)
        specs = [shell(name, f"echo run >> {rig.root}-ran-{name}", cpu_milli=1_000) for name in "abc"]
        held = [shell("z", FOREVER, cpu_milli=32_000)]
        await first.launch(held)
        statuses = await first.launch(specs)
        assert [(status.phase, status.started_ms) for status in statuses] == [(AttemptPhase.running, None)] * 3
        await eventually_async(lambda: len(pending(rig)) == 3, "three that wait")
        await first.close()
        second = rig.executor()
        await second.open(2)
        async with Ends(second) as ends:
            found = await second.inspect(["z.1", "a.1", "b.1", "c.1"])
            assert [status.phase for status in found] == [AttemptPhase.running] * 4
            await second.stop("a.1", "cancelled", 60_000)
            assert (await ends.of("a.1")).cause is Cause.cancelled
            rig.cluster.command("scancel", f"--name={name_in_slurm(rig, 'b.1')}")
            taken = await ends.of("b.1")
            assert (taken.cause, taken.started_ms) == (Cause.no_capacity, None)
            assert "CANCELLED" in taken.message
            await second.stop("z.1", "cancelled", 0)
            assert (await ends.of("c.1")).exit_code == 0
        await second.close()
        assert Path(f"{rig.root}-ran-c").exists()
        assert not Path(f"{rig.root}-ran-a").exists()
        assert not Path(f"{rig.root}-ran-b").exists()

    asyncio.run(run())


def pending(rig: SlurmRig) -> list[str]:
    mine = name_in_slurm(rig, "")
    return [name for name, state in rig.cluster.states().items() if state == "PENDING" and name.startswith(mine)]


def test_what_slurm_refuses_ends_with_its_words(rig: SlurmRig) -> None:
    async def scenario(executor: SlurmExecutor, ends: Ends) -> None:
        (status,) = await executor.launch([shell("a", "exit 0", memory_bytes=1 << 50)])
        assert (status.phase, status.cause, status.started_ms) == (AttemptPhase.ended, Cause.no_capacity, None)
        assert "Memory specification can not be satisfied" in status.message

    play(rig, scenario)


def test_two_jobs_of_one_attempt_run_it_once(rig: SlurmRig) -> None:
    """As when a runtime is killed between sbatch and its answer, and the next one could not see the job yet."""

    async def scenario(executor: SlurmExecutor, ends: Ends) -> None:
        spec = shell("a", f"echo run >> {rig.root}-ran; sleep 0.3")
        await executor.launch([spec])
        tools = SlurmTools(rig.options)
        for _ in range(2):
            path = str(rig.root / "a.1")
            request = submission(
                spec, name=name_in_slurm(rig, "a.1"), directory=path, partition="", options=rig.options
            )
            tools.submit(request)
        assert (await ends.of("a.1")).exit_code == 0
        mine = name_in_slurm(rig, "")
        await eventually_async(
            lambda: not [name for name in rig.cluster.live() if name.startswith(mine)], "the end of all three jobs"
        )
        assert Path(f"{rig.root}-ran").read_text() == "run\n"

    play(rig, scenario)


def test_while_the_controller_is_away_work_ends_begins_later_and_heeds_stops(
    rig: SlurmRig, controller: SlurmCluster, tmp_path: Path
) -> None:
    rig.options = rig.quick(start_wait_s=1.5)
    go = tmp_path / "go"

    async def scenario(executor: SlurmExecutor, ends: Ends) -> None:
        assert {node.state for node in await executor.nodes()} == {NodeState.up}
        waits = f"echo ready; until [ -e {go} ]; do sleep 0.05; done; exit 7"
        await executor.launch([shell("a", waits), shell("b", FOREVER)])
        for attempt in ("a.1", "b.1"):
            await until_logged(executor, attempt, b"ready")
        await asyncio.to_thread(controller.until_saved)
        controller.kill_daemon("slurmctld")
        (late,) = await executor.launch([shell("c", "exit 8")])
        assert (late.phase, late.started_ms) == (AttemptPhase.running, None)
        assert {node.state for node in await executor.nodes()} == {NodeState.suspect}
        go.touch()
        assert (await ends.of("a.1")).exit_code == 7
        await executor.stop("b.1", "cancelled", 60_000)
        assert (await ends.of("b.1")).cause is Cause.cancelled
        (status,) = await executor.inspect(["c.1"])
        assert status.phase is AttemptPhase.running
        controller.start_daemon("slurmctld")
        assert (await ends.of("c.1")).exit_code == 8

    play(rig, scenario)


def test_a_runtime_that_starts_while_the_controller_is_away_concludes_nothing(
    rig: SlurmRig, controller: SlurmCluster, tmp_path: Path
) -> None:
    go = tmp_path / "go"

    async def run() -> None:
        first = rig.executor()
        await first.open(1)
        await first.launch([shell("a", f"until [ -e {go} ]; do sleep 0.05; done; exit 3")])
        await first.close()
        controller.until_saved()
        controller.kill_daemon("slurmctld")
        second = rig.executor()
        await second.open(2)
        async with Ends(second) as ends:
            with pytest.raises(NodeUnreachable):
                await second.nodes()
            found, absent = await second.inspect(["a.1", "never.1"])
            assert (found.phase, absent.phase) == (AttemptPhase.running, AttemptPhase.absent)
            controller.start_daemon("slurmctld")
            go.touch()
            assert (await ends.of("a.1")).exit_code == 3
        await second.close()

    asyncio.run(run())


def test_work_of_a_node_that_slurm_gave_up_is_ended_before_it_is_lost(
    cluster: SlurmCluster, tmp_path: Path, controller: SlurmCluster
) -> None:
    """Its slurmd is gone, its job runs on: Slurm says NODE_FAIL, and the guard sees the request to end."""
    rig = SlurmRig(cluster, tmp_path, partition="gpu")

    async def scenario(executor: SlurmExecutor, ends: Ends) -> None:
        await executor.launch([family("a")])
        await until_logged(executor, "a.1", b"ready")
        cluster.kill_daemon("n2")
        status = await ends.of("a.1")
        assert status.cause is Cause.node_lost
        assert marked(rig.root, "a.1") == []
        (node,) = await executor.nodes()
        assert node.state is NodeState.down
        cluster.start_daemon("n2")

    play(rig, scenario)


def test_what_can_not_see_its_directory_ends_itself_in_time(rig: SlurmRig, tmp_path: Path) -> None:
    """The file system is away from the node: nobody could tell the attempt to end, so it must not need to be told."""
    elsewhere = tmp_path / "elsewhere"

    async def scenario(executor: SlurmExecutor, ends: Ends) -> None:
        await executor.launch([family("a")])
        await until_logged(executor, "a.1", b"ready")
        await eventually_async(lambda: len(marked(rig.root, "a.1")) == 5, "a family of five")
        (rig.root / "a.1").rename(elsewhere)
        await eventually_async(lambda: marked(rig.root, "a.1") == [], "the end of the family")
        elsewhere.rename(rig.root / "a.1")
        status = await ends.of("a.1")
        assert (status.phase, status.exit_code) == (AttemptPhase.lost, None)

    play(rig, scenario)


def test_devices_are_slurms_and_the_environment_is_built(cluster: SlurmCluster, tmp_path: Path) -> None:
    rig = SlurmRig(cluster, tmp_path, partition="gpu")

    async def scenario(executor: SlurmExecutor, ends: Ends) -> None:
        (node,) = await executor.nodes()
        assert (node.id, node.type, node.device_names) == ("n2", "gpu", ("fake", "fake"))
        code = "import json, os; print(json.dumps(dict(os.environ)))"
        command = f"exec {rig.options.python} -c '{code}'"
        await executor.launch(
            [shell("a", command, devices=node.devices[:1], node="n2"), shell("b", command, env={"MINE": "1"})]
        )
        seen = {}
        for name in "ab":
            assert (await ends.of(f"{name}.1")).exit_code == 0
            seen[name] = json.loads((await executor.logs(f"{name}.1", "stdout", 0, 1 << 20))[0])
        assert seen["a"]["CUDA_VISIBLE_DEVICES"] in ("0", "1")
        assert seen["b"]["CUDA_VISIBLE_DEVICES"] == ""
        assert (seen["b"]["MINE"], seen["b"]["SLURMD_NODENAME"]) == ("1", "n2")
        assert "VIRTUAL_ENV" not in seen["b"]

    play(rig, scenario)
