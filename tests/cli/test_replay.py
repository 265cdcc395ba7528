"""`agentorch replay LEDGER --brain ...`: what it prints, writes and refuses; the same bytes each time, offline."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from agentorch.cli.replay_tui import served
from agentorch.model import limits
from tests.cli.shell import agentorch, process
from tests.simulation.past import busy

BRAIN = """
from agentorch.model.proposals import BrainReport, Draft

def decide(observation):
    pool = observation.pools[0]
    if observation.queued_total < 1 or pool.target >= pool.max_workers:
        return BrainReport(brain="eager", hold="enough")
    action = {"kind": "scale", "pool": pool.name, "workers": pool.target + 1}
    return BrainReport(brain="eager", drafts=(Draft(action=action, reason="somebody waits"),))
"""


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return busy().write(tmp_path_factory.mktemp("past") / "past.db")


@pytest.fixture
def eager(tmp_path: Path) -> str:
    file = tmp_path / "eager.py"
    file.write_text(BRAIN)
    return str(file)


def told(*arguments: str) -> dict[str, Any]:
    done = agentorch("replay", *arguments, "-o", "json")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def test_decisions_stand_side_by_side(ledger: Path, eager: str) -> None:
    found = told(str(ledger), "--brain", eager)
    assert (found["brain"], found["ledger"]) == ("eager", "past.db")
    assert found["same"] + found["different"] == len(found["cycles"]) == sum(found["was_brains"].values())
    assert found["different"] > 0
    cycle = next(one for one in found["cycles"] if not one["same"])
    assert {"cycle", "seq", "at", "was", "would", "same", "differences", "predicted"} <= cycle.keys()
    assert cycle["differences"]
    for side in ("was", "would"):
        assert sum(cycle[side]["verdicts"].values()) == len(cycle[side]["actions"])
        for one in cycle[side]["actions"]:
            assert one["ruling"] in ("allow", "ask", "deny")
            assert one["notes"]
    foreseen = [one["predicted"] for one in found["cycles"] if one["predicted"]["would"] is not None]
    assert {"wait_p95_s", "cost_usd_micros", "misses"} <= foreseen[0]["would"].keys()
    assert foreseen[0]["horizon_s"] > 0
    same = [one["predicted"] for one in found["cycles"] if one["same"]]
    assert {one["text"] for one in same} == {"the same is done"}


def test_the_whole_time_is_compared_and_how_far_it_can_be_believed(ledger: Path, eager: str) -> None:
    found = told(str(ledger), "--brain", eager, "--no-twin")
    rows = {one["measure"]: one for one in found["summary"]}
    for measure in (
        "wait_p50_s",
        "wait_p95_s",
        "deadlines_missed",
        "cost_usd",
        "actions",
        "asked",
        "denied",
        "preemptions",
    ):
        row = rows[measure]
        assert row["was"] == row["measured"]  # driven again as it was, it is as it was
        assert row["difference"] == pytest.approx(row["would"] - row["was"], abs=0.002)
    assert any(row["difference"] != 0 for row in rows.values())
    series = found["series"]
    assert len({len(values) for values in series.values()}) == 1
    assert series["queued_was"] == series["queued_measured"]
    assert any("had not ended by themselves" in note for note in found["notes"])


def test_the_recorded_brain_says_what_it_said(ledger: Path) -> None:
    found = told(str(ledger), "--brain", "recorded")
    assert (found["different"], found["same"]) == (0, len(found["cycles"]))
    assert all(one["difference"] == 0 for one in found["summary"])


def test_settings_without_a_brain_judge_what_was_said_again(ledger: Path) -> None:
    found = told(str(ledger), "--set", "pools.cpu.max_workers=1", "--set", "guardrails.approval_ttl=5m", "--no-day")
    assert found["settings"] == {"pools.cpu.max_workers": "1", "guardrails.approval_ttl": "5m"}
    denied = [one for cycle in found["cycles"] for one in cycle["would"]["actions"]]
    assert {one["ruling"] for one in denied} == {"deny"}
    assert found["summary"] == []


def test_a_window_is_a_part_of_it(ledger: Path) -> None:
    whole = told(str(ledger), "--brain", "recorded", "--no-day")
    middle = whole["cycles"][len(whole["cycles"]) // 2]
    part = told(str(ledger), "--brain", "recorded", "--from", f"#{middle['seq']}")
    assert part["cycles"] == [one for one in whole["cycles"] if one["seq"] >= middle["seq"]]
    assert all(one["difference"] == 0 for one in part["summary"])
    by_time = told(str(ledger), "--brain", "recorded", "--no-day", "--to", str(middle["at"]))
    assert by_time["cycles"][-1]["cycle"] in (middle["cycle"], middle["cycle"] - 1)


def test_the_same_command_gives_the_same_bytes_and_needs_no_network(ledger: Path, eager: str, tmp_path: Path) -> None:
    arguments = ["replay", str(ledger), "--brain", eager, "--set", "pools.cpu.max_workers=3", "-o", "json"]
    first, second = (
        subprocess.run(
            [sys.executable, "-m", "tests.cli.offline", *arguments, "--plot", str(tmp_path / name)],
            capture_output=True,
            timeout=100,
            check=False,
        )
        for name in ("one.svg", "two.svg")
    )
    assert (first.returncode, first.stderr) == (0, b"")
    assert first.stdout == second.stdout
    assert len(first.stdout) > 1000
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()


def test_a_person_gets_a_table_and_a_picture(ledger: Path, eager: str, tmp_path: Path) -> None:
    picture = tmp_path / "day.svg"
    done = process("replay", str(ledger), "--brain", eager, "--no-twin", "--plot", str(picture))
    assert done.returncode == 0, done.stderr
    assert "decided alike" in done.stdout
    assert "would Grow cpu from" in done.stdout
    assert "MEASURE" in done.stdout
    assert "wait_p95_s" in done.stdout
    text = picture.read_text()
    assert text.startswith("<svg")
    assert ("with eager" in text, "as it really was" in text) == (True, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--brain", "nobody"), "expected rules"),
        (("--brain", "/none/mine.py"), "--brain /none/mine.py: there is no such file"),
        (("--set", "pools.cpu.max_workers"), "expected KEY=VALUE"),
        (("--set", "pools.cpu.max_workers=lots"), "--set pools.cpu.max_workers=lots: expected a whole number"),
        (("--set", "pools.cpu.most=3"), "--set pools.cpu.most: unknown key"),
        (("--set", "pools.gpu.max_workers=3"), "--set pools.gpu: the recording has no such name"),
        (("--set", "pools.cpu.executor=ray"), "stays on the machines that it ran on"),
        (("--set", "pools.cpu.min_workers=9"), "set the other one too"),
        (("--set", "guardrails.actions_per_hour=61"), "a guardrail can only be tightened"),
        (("--set", "guardrails.cooldown=soon"), "expected a duration such as 90s"),
        (("--set", "server.port=1"), "--set server.port: expected pools.NAME.KEY"),
        (("--brain", "rules", "--from", "noon"), "expected an ISO 8601 time"),
        (("--brain", "rules", "--from", "#x"), "'#x': expected a sequence number such as #123"),
        (("--brain", "rules", "--from", "#999999"), "is no part of it"),
        (("--brain", "recorded", "--plot", "/none/x.svg"), "--plot /none/x.svg: can't be written"),
        (("--brain", "recorded", "--plot", "x.svg", "--no-day"), "there is nothing to draw with --no-day"),
        (("--brain", "rules", "--timeout", "0"), "--timeout must be more than 0"),
        (("--brain", "rules", "--config", "/none.toml"), "/none.toml: there is no such file"),
        (("--set", "supervisor.waiting_usd_per_hour=dear"), "--set supervisor.waiting_usd_per_hour=dear: expected"),
        (("--brain", "rules", "-o", "jsonl"), "--output jsonl"),
    ],
)
def test_bad_input_is_named(ledger: Path, arguments: tuple[str, ...], message: str) -> None:
    done = agentorch("replay", str(ledger), *arguments)
    assert done.returncode == 2
    assert message in done.stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("decide = 1", "expected a function `decide(observation, context)` in it"),
        ("brain = 1", "with such a method"),
        ("import nothing_like_this", "ModuleNotFoundError"),
        ("def decide(", "SyntaxError"),
    ],
)
def test_a_file_without_a_brain_says_what_is_missing(ledger: Path, tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "odd.py"
    file.write_text(text)
    done = agentorch("replay", str(ledger), "--brain", str(file))
    assert done.returncode == 2
    assert message in done.stderr


def test_a_brain_that_fails_or_hangs_is_told_and_does_not_end_the_replay(ledger: Path, tmp_path: Path) -> None:
    file = tmp_path / "odd.py"
    file.write_text(
        "import asyncio\n"
        "async def decide(observation, context):\n"
        "    if observation.cycle == 1:\n"
        "        await asyncio.Event().wait()\n"
        "    if observation.cycle == 2:\n"
        "        return 'grow'\n"
        "    raise ZeroDivisionError('no')\n"
    )
    found = told(str(ledger), "--brain", str(file), "--no-day", "--timeout", "0.2")
    errors = [one["would"]["error"] for one in found["cycles"]]
    assert "did not answer within 0.2 s" in errors[0]
    assert "answered with str" in errors[1]
    assert set(errors[2:]) == {"ZeroDivisionError: no"}
    assert found["same"] == 0


# -- proof


def test_every_decision_comes_out_again(ledger: Path) -> None:
    found = told(str(ledger), "--verify")
    assert (found["same"], found["ok"], found["first_different"]) == (True, True, None)
    assert found["proposals_same"] == found["verdicts_judged_again"] > 10
    assert found["reports_handed_in_again"] == 59
    done = agentorch("replay", str(ledger), "--verify")
    assert done.stdout.startswith("the same, byte for byte\n")


def test_a_verdict_that_was_tampered_with_is_found(ledger: Path, tmp_path: Path) -> None:
    """A ledger with a chain of its own that is whole: only judging again can tell."""
    import msgspec

    from agentorch.model.events import ProposalJudged

    past = busy()
    at = next(at for at, event in enumerate(past.events) if isinstance(event, ProposalJudged))
    event = past.events[at]
    assert isinstance(event, ProposalJudged)
    forged = msgspec.structs.replace(event.proposal, risk="low", reversible=True)
    past.events[at] = msgspec.structs.replace(event, proposal=forged)
    done = agentorch("replay", str(past.write(tmp_path / "forged.db")), "--verify", "-o", "json")
    found = json.loads(done.stdout)
    assert (done.returncode, found["same"], found["first_different"]) == (1, False, at + 1)


# -- the recording's server


@pytest.fixture(scope="module")
def url(ledger: Path) -> Iterator[str]:
    with served(ledger) as found:
        yield found


def branch(url: str, **body: Any) -> httpx.Response:
    return httpx.post(f"{url}/v1/replay/branch", json=body, timeout=60)


def test_a_server_of_a_recording_replays_parts_of_it(url: str, ledger: Path) -> None:
    body = {"brain": "recorded", "set": {"pools.cpu.max_workers": "1"}, "from": 100, "wait_s": 50}
    found = branch(url, **body).json()
    assert (found["state"], found["problem"]) == ("done", "")
    assert found["done"] == found["total"] > 0
    same = told(str(ledger), "--brain", "recorded", "--set", "pools.cpu.max_workers=1", "--from", "#100")
    assert found["replay"] == same
    again = branch(url, **{**body, "wait_s": 0})
    assert again.json()["state"] == "done"  # it was kept


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"brain": "/tmp/mine.py"}, "brain: '/tmp/mine.py' is none of recorded, rules"),
        ({"set": {"a": "1"}}, "--set a: expected pools.NAME.KEY"),
        ({"seq": 3, "to": 9}, "seq: name either seq, or from and to"),
        ({"from": 10**6}, "from, to: the recording has sequences 1 to"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_what_can_not_be_replayed_is_refused(url: str, body: dict[str, Any], message: str) -> None:
    answer = branch(url, **body)
    assert answer.status_code == 422
    assert message in answer.json()["detail"]


def test_a_replay_that_fails_says_why(url: str) -> None:
    found = branch(url, set={"pools.gpu.max_workers": "1"}, wait_s=50).json()
    assert found["state"] == "failed"
    assert "the recording has no such name" in found["problem"]


def test_the_number_of_replays_at_once_is_bounded(url: str) -> None:
    codes = [branch(url, brain="rules", seq=seq, wait_s=0).status_code for seq in range(1, limits.BRANCHES_AT_ONCE + 2)]
    assert codes[-1] == 429


def test_a_brain_named_at_the_start_may_be_asked_and_ends_with_the_server(ledger: Path, tmp_path: Path) -> None:
    file = tmp_path / "slow.py"
    file.write_text("import asyncio\nasync def decide(observation, context):\n    await asyncio.Event().wait()\n")
    with served(ledger, (str(file),)) as own:
        assert branch(own, brain=str(file), wait_s=0.1).json()["state"] == "running"
        before = [child for child in psutil.Process().children() if f"--brain={file}" in child.cmdline()]
        assert len(before) == 1
        assert httpx.get(f"{own}/healthz").status_code == 200
    assert not before[0].is_running()


def test_a_running_server_refuses(shared: Any) -> None:
    answer = branch(shared.url, brain="rules")
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
