"""What Slurm's tools say, and what it is taken for; no cluster is needed."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from agentorch.errors import ExecutorError, NodeUnreachable
from agentorch.executors.slurm.batch import Submission, submission
from agentorch.executors.slurm.doubt import Watch, cause_of, is_over
from agentorch.executors.slurm.executor import SlurmExecutor
from agentorch.executors.slurm.nodes import node_infos
from agentorch.executors.slurm.options import SlurmOptions
from agentorch.executors.slurm.tools import SlurmNode, SlurmRefused, SlurmTools
from agentorch.model.fleet import NodeState
from agentorch.model.jobs import Cause
from tests.executors.rigs import shell


def line(**fields: object) -> SlurmNode:
    base = SlurmNode("n1", "main", True, 8, 16_000, "idle", "10.0.0.1", "(null)", "(null)", "none")
    return base._replace(**fields)  # type: ignore[arg-type]


def tool(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("said", "state"),
    [
        ("idle", NodeState.up),
        ("mixed", NodeState.up),
        ("allocated", NodeState.up),
        ("completing", NodeState.up),
        ("idle~", NodeState.up),
        ("mixed*", NodeState.suspect),
        ("draining", NodeState.draining),
        ("drained*", NodeState.draining),
        ("maint", NodeState.draining),
        ("down", NodeState.down),
        ("down*", NodeState.down),
        ("inval", NodeState.down),
        ("unknown", NodeState.down),
        ("something new", NodeState.down),
    ],
)
def test_a_nodes_state(said: str, state: NodeState) -> None:
    (node,) = node_infos([line(state=said, reason="a fan")])
    assert node.state is state
    assert (node.problem == "") == (state is NodeState.up)
    assert "a fan" in node.problem or state is NodeState.up


def test_a_node_has_the_shape_that_slurm_gives_it_and_one_type() -> None:
    seen = [
        line(partition="aside", is_default=False),
        line(gres="gpu:a100:2(S:0-1),nvme:1,gpu:1", features="fast,near"),
    ]
    (node,) = node_infos(seen)
    assert (node.id, node.type, node.address) == ("n1", "main", "10.0.0.1")
    assert (node.cpu_milli, node.memory_bytes) == (8_000, 16_000 << 20)
    assert node.devices == ("n1:gpu:0", "n1:gpu:1", "n1:gpu:2")
    assert node.device_names == ("a100", "a100", "gpu")
    assert node.labels == (("fast", "true"), ("near", "true"))


def test_what_is_asked_for_an_attempt() -> None:
    spec = shell("a", "true", cpu_milli=1_500, memory_bytes=(1 << 30) + 1, devices=("n1:gpu:1",), timeout_ms=90_000)
    asked = submission(spec, name="x", directory="/d", partition="gpu", options=SlurmOptions(python="/opt/my python"))
    assert {"--cpus-per-task=2", "--mem=1025M", "--gres=gpu:1", "--partition=gpu", "--time=4"} <= set(asked.arguments)
    assert "exec '/opt/my python' -I -S -c" in asked.script


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("sbatch: error: Batch job submission failed: Invalid account or account/partition combination", SlurmRefused),
        ("sbatch: error: Batch job submission failed: Requested node configuration is not available", SlurmRefused),
        ("sbatch: error: Batch job submission failed: Unable to contact slurm controller", NodeUnreachable),
        ("sbatch: error: Batch job submission failed: Socket timed out on send/recv operation", NodeUnreachable),
        ("sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying", NodeUnreachable),
        ("sbatch: error: Munge encode failed: Failed to access", NodeUnreachable),
    ],
)
def test_no_answer_is_not_a_refusal(tmp_path: Path, said: str, kind: type[Exception]) -> None:
    tool(tmp_path, "sbatch", f"echo '{said}' >&2; exit 1")
    with pytest.raises(ExecutorError) as raised:
        SlurmTools(SlurmOptions(commands=str(tmp_path))).submit(Submission("", []))
    assert type(raised.value) is kind


def test_a_query_that_failed_is_not_an_empty_answer(tmp_path: Path) -> None:
    tool(tmp_path, "squeue", "echo 'slurm_load_jobs error: Unexpected message received' >&2; exit 1")
    tools = SlurmTools(SlurmOptions(commands=str(tmp_path), command_s=0.2))
    with pytest.raises(NodeUnreachable, match="Unexpected message"):
        tools.jobs()
    tool(tmp_path, "squeue", "exec sleep 60")
    with pytest.raises(NodeUnreachable, match="did not answer within"):
        tools.jobs()


def test_without_slurms_tools_nothing_opens(tmp_path: Path) -> None:
    executor = SlurmExecutor(tmp_path / "root", SlurmOptions(commands=str(tmp_path / "nowhere")))
    with pytest.raises(ExecutorError, match="nowhere/sbatch: not found; install Slurm's client commands here"):
        asyncio.run(executor.open(1))


def watch(doubts: int, seconds_ago: float) -> Watch:
    started = asyncio.new_event_loop().create_future()
    started.get_loop().close()
    return Watch(started, 0.0, doubts=doubts, doubted_at=time.monotonic() - seconds_ago)


def test_what_slurm_saw_end_is_over_at_the_second_look_if_nobody_holds_it() -> None:
    assert not is_over(watch(1, 0.0), "FAILED", False, 60.0)
    assert is_over(watch(2, 1.0), "FAILED", False, 60.0)
    assert not is_over(watch(9, 1.0), "FAILED", True, 60.0)


@pytest.mark.parametrize("state", ["NODE_FAIL", "", "BOOT_FAIL"])
def test_what_slurm_only_gave_up_is_over_when_its_guard_must_have_ended_it(state: str) -> None:
    assert not is_over(watch(9, 59.0), state, False, 60.0)
    assert not is_over(watch(9, 61.0), state, False, 60.0)
    assert is_over(watch(9, 66.0), state, True, 60.0)


def test_what_the_end_of_a_job_means() -> None:
    assert cause_of("NODE_FAIL") is Cause.node_lost
    assert cause_of("TIMEOUT") is Cause.timeout
    assert cause_of("OUT_OF_MEMORY") is Cause.oom
    assert cause_of("FAILED") is cause_of("") is Cause.lost


@pytest.mark.parametrize("said", ["", "Job/step already completing or completed", "Invalid job id specified"])
def test_a_job_that_has_ended_needs_no_cancelling(tmp_path: Path, said: str) -> None:
    tool(tmp_path, "scancel", f"echo '{said and f'Kill job error on job id 7: {said}'}' >&2; exit 229")
    tools = SlurmTools(SlurmOptions(commands=str(tmp_path)))
    tools.cancel(["7"])
    tools.warn(["7"])
    tool(tmp_path, "scancel", "echo 'scancel: error: slurm_kill_job2: Unable to contact slurm controller' >&2; exit 1")
    with pytest.raises(NodeUnreachable):
        tools.cancel(["7"])
