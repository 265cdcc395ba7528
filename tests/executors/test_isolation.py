"""What a job sees, and what the isolated processes import."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from agentorch.executors.environment import build_environment
from agentorch.executors.local import LocalExecutor
from agentorch.model.attempts import AttemptPhase
from agentorch.model.jobs import Cause
from tests.executors.ends import Ends
from tests.executors.rigs import attempt, shell
from tests.executors.test_trees import play


def test_the_environment_is_built_not_inherited(tmp_path: Path) -> None:
    assert "PYTEST_CURRENT_TEST" in os.environ  # something that would leak

    async def scenario(executor: LocalExecutor, ends: Ends) -> None:
        await executor.launch([shell("a", "env -0", env={"MINE": "1", "CUDA_VISIBLE_DEVICES": "all", "LANG": "C"})])
        await ends.of("a.1")
        text, _, _ = await executor.logs("a.1", "stdout", 0, 1 << 20)
        seen = dict(entry.split("=", 1) for entry in text.decode().split("\0") if entry)
        for name in ("PWD", "SHLVL", "_", "OLDPWD"):  # the shell's own
            seen.pop(name, None)
        directory = f"{tmp_path}/a.1"
        assert set(seen) == {
            "PATH", "HOME", "LANG", "USER", "LOGNAME", "TMPDIR", "MINE", "AGENTORCH_ATTEMPT", "AGENTORCH_ATTEMPT_DIR",
            "AGENTORCH_JOB", "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES",
        }  # fmt: skip
        assert (seen["MINE"], seen["LANG"], seen["AGENTORCH_ATTEMPT"]) == ("1", "C", "a.1")
        assert seen["CUDA_VISIBLE_DEVICES"] == ""
        assert seen["TMPDIR"] == f"{directory}/tmp"

    play(tmp_path, scenario)


def test_an_attempt_sees_its_own_gpus_and_no_others() -> None:
    spec = attempt("a", "x", devices=("GPU-1", "GPU-2"), env={"NVIDIA_VISIBLE_DEVICES": "all"})
    environment = build_environment({}, spec, "/d")
    assert environment["CUDA_VISIBLE_DEVICES"] == environment["NVIDIA_VISIBLE_DEVICES"] == "GPU-1,GPU-2"


def test_workdir_scratch_streams_and_input(tmp_path: Path) -> None:
    async def scenario(executor: LocalExecutor, ends: Ends) -> None:
        script = "pwd; touch $TMPDIR/x; mkdir $TMPDIR/d; touch $TMPDIR/d/y; cat; umask; ls /proc/self/fd | wc -l"
        await executor.launch([shell("a", script), shell("b", "pwd", workdir=str(tmp_path))])
        await ends.of("a.1")
        await ends.of("b.1")
        text, _, _ = await executor.logs("a.1", "stdout", 0, 1000)
        assert text.decode().split() == [f"{tmp_path}/a.1/work", "0022", "5"]  # three, the leash, its own
        assert list((tmp_path / "a.1" / "tmp").iterdir()) == []
        assert (await executor.logs("b.1", "stdout", 0, 1000))[0].decode().strip() == str(tmp_path)

    play(tmp_path, scenario)


def test_a_workdir_that_is_not_there_is_named(tmp_path: Path) -> None:
    async def scenario(executor: LocalExecutor, ends: Ends) -> None:
        (status,) = await executor.launch([shell("a", "pwd", workdir="/no/such/place")])
        assert (status.phase, status.cause) == (AttemptPhase.ended, Cause.exec_failed)
        assert "/no/such/place" in status.message

    play(tmp_path, scenario)


def test_what_can_never_run_ends_at_once(tmp_path: Path) -> None:
    async def scenario(executor: LocalExecutor, ends: Ends) -> None:
        bad = [attempt("a"), shell("b", "exit", stop_signal="SIGNOT"), shell("c", "exit", env={"A": "\0"})]
        for status in await executor.launch(bad):
            assert (status.phase, status.cause) == (AttemptPhase.ended, Cause.exec_failed)
            assert status.message

    play(tmp_path, scenario)


def test_what_is_said_of_a_program_with_an_endless_name_is_short(tmp_path: Path) -> None:
    async def scenario(executor: LocalExecutor, ends: Ends) -> None:
        (status,) = await executor.launch([attempt("a", "x" * 50_000)])
        assert (status.phase, status.cause) == (AttemptPhase.ended, Cause.exec_failed)
        assert status.message.endswith("File name too long")
        assert len(status.message) < 1_000

    play(tmp_path, scenario)


def test_a_job_gets_default_signals(tmp_path: Path) -> None:
    async def scenario(executor: LocalExecutor, ends: Ends) -> None:
        await executor.launch([shell("a", "grep -E '^Sig(Ign|Blk)' /proc/self/status")])
        await ends.of("a.1")
        text, _, _ = await executor.logs("a.1", "stdout", 0, 1000)
        # Signals 32 and 33 are the C library's own: no program can set them, so whoever ignores them bequeaths that.
        own = (1 << 31) | (1 << 32)
        assert [int(line.split()[1], 16) & ~own for line in text.splitlines()] == [0, 0]

    play(tmp_path, scenario)


def test_the_zygote_imports_only_the_standard_library() -> None:
    source = Path(__file__).resolve().parents[2]
    code = (
        f"import sys; sys.path.append({str(source)!r})\n"
        "import agentorch.executors.zygote\n"
        "print('\\n'.join(sorted(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    imported = set(done.stdout.split())
    foreign = {name for name in imported if name.split(".")[0] not in {*sys.stdlib_module_names, "__main__"}}
    assert "agentorch.executors.shim" in foreign
    assert all(name.split(".")[0] == "agentorch" for name in foreign), foreign
    assert {"agentorch.model", "agentorch.errors"}.isdisjoint(foreign)
