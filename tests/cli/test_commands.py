"""Commands against a real server: what goes to stdout, and how they end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agentorch.model import commands as cmd
from agentorch.model.fleet import Role
from agentorch.model.proposals import BrainReport, Draft, Mode, Scale
from tests.api.live import Live
from tests.cli.shell import agentorch, process


def test_submit_prints_the_id_and_nothing_else_on_stdout(server: Live) -> None:
    done = agentorch("submit", "--name", "x", "--cpus", "0.5", "--label", "a=b", "--", "true", url=server.url)
    assert done.returncode == 0, done.stderr
    job_id = done.stdout.strip()
    shown = json.loads(agentorch("job", job_id, "-o", "json", url=server.url).stdout)
    assert (shown["name"], shown["resources"]["cpus"], shown["labels"]) == ("x", 0.5, {"a": "b"})


def test_run_shows_output_and_ends_as_the_job_ends(server: Live) -> None:
    done = process("run", "--", "sh", "-c", "echo hello; echo oops >&2; exit 7", url=server.url)
    assert done.stdout == "hello\n"
    assert done.returncode == 1
    assert "exit code 7" in done.stderr
    assert agentorch("run", "true", url=server.url).returncode == 0
    assert agentorch("run", "--max-duration", "200ms", "--", "sleep", "60", url=server.url).returncode == 124


def test_wait_gives_up_with_eight_and_the_job_goes_on(server: Live) -> None:
    done = agentorch("submit", "--start-at", "+1h", "--wait", "--timeout", "300ms", "--", "true", url=server.url)
    assert done.returncode == 8
    job_id = done.stdout.strip()
    why = agentorch("why", job_id, url=server.url).stdout
    assert "start_time" in why
    assert "expected to start in: about 59m" in why
    assert "starts in" in agentorch("job", job_id, url=server.url).stdout
    done = agentorch("cancel", job_id, "job-424242", url=server.url)
    assert done.returncode == 5
    assert "cancelled" in done.stdout
    assert "job-424242" in done.stderr


def test_a_specification_file_and_options_over_it(server: Live, tmp_path: Path) -> None:
    spec = tmp_path / "job.toml"
    spec.write_text('command = ["true"]\nname = "from file"\npriority = 20\n[resources]\ncpus = 2\n')
    done = agentorch("submit", "-f", str(spec), "--priority", "30", url=server.url)
    shown = json.loads(agentorch("job", done.stdout.strip(), "-o", "json", url=server.url).stdout)
    assert (shown["name"], shown["priority"], shown["resources"]["cpus"]) == ("from file", 30, 2.0)
    spec.write_text("command = ")
    done = agentorch("submit", "-f", str(spec), url=server.url)
    assert done.returncode == 2
    assert str(spec) in done.stderr


def test_gangs_and_functions_are_asked_for_by_options(server: Live) -> None:
    words = ["--entry", "m:f", "--args-json", "[1, null]", "--kwargs-json", '{"k": 2}', "--workers", "3"]
    done = agentorch("submit", "--start-at", "+1h", *words, url=server.url)
    assert done.returncode == 0, done.stderr
    shown = json.loads(agentorch("job", done.stdout.strip(), "-o", "json", url=server.url).stdout)
    assert (shown["workers"], shown["command"]) == (3, [])
    assert shown["entry"] == {"call": "m:f", "args": [1, None], "kwargs": {"k": 2}, "python": ""}
    for wrong, says in (
        (["--entry", "m:f", "--args-json", "{"], "not JSON"),
        (["--entry", "m:f", "--args-json", "{}"], "array"),
        (["--kwargs-json", "{}"], "--entry"),
        (["--entry", "m:f", "--", "true"], "either"),
        ([], "nothing to run"),
    ):
        done = agentorch("submit", *wrong, url=server.url)
        assert done.returncode == 2, wrong
        assert says in done.stderr


def test_lists_announce_what_they_leave_out(server: Live) -> None:
    for _ in range(3):
        agentorch("submit", "--start-at", "+1h", "--", "true", url=server.url)
    done = agentorch("jobs", "--limit", "2", url=server.url)
    assert done.stdout.count("job-") == 2
    assert "2 of 3 jobs" in done.stderr
    lines = agentorch("jobs", "--all-pages", "-o", "jsonl", url=server.url).stdout.splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["job-000003", "job-000002", "job-000001"]
    assert "\x1b" not in done.stdout


def test_plan_pools_workers_devices_and_budgets_print_something_true(server: Live) -> None:
    plan = agentorch("plan", "--cpus", "4", url=server.url)
    assert plan.returncode == 0
    assert plan.stdout.splitlines()[1].split()[:3] == ["cpu", "yes", "yes"]
    assert "starts in: about 0.0s, 90 %: 0.0s; runs for: unknown" in plan.stderr
    assert "no run like it known" in plan.stderr
    assert agentorch("plan", "--cpus", "4096", url=server.url).returncode == 1
    scaled = agentorch("pools", "cpu", "--workers", "3", "-o", "json", url=server.url)
    assert json.loads(scaled.stdout)[0]["target"] == 3
    assert agentorch("pools", "cpu", "--workers", "99", url=server.url).returncode == 2
    cordoned = agentorch("workers", "cpu-0", "--cordon", "--reason", "loud", url=server.url)
    assert "cordoned" in cordoned.stdout
    assert "cpu" in agentorch("devices", url=server.url).stdout
    capped = agentorch("budgets", "red", "--cap", "12.5", "-o", "json", url=server.url)
    assert json.loads(capped.stdout)[0]["hard_cap_usd"] == 12.5
    uncapped = agentorch("budgets", "red", "--cap", "none", "-o", "json", url=server.url)
    assert json.loads(uncapped.stdout)[0]["hard_cap_usd"] is None


def test_keys_open_the_door_and_wrong_ones_do_not(server: Live) -> None:
    assert agentorch("keys", "add", "clerk", "--role", "submit", url=server.url).returncode == 1
    admin = agentorch("keys", "add", "me", "--role", "admin", url=server.url).stdout.strip()
    assert agentorch("jobs", url=server.url).returncode == 4
    assert agentorch("jobs", url=server.url, key="ao-wrong").returncode == 4
    assert agentorch("jobs", url=server.url, key=admin).returncode == 0
    clerk = agentorch("keys", "add", "clerk", "--role", "submit", "--tenant", "red", url=server.url, key=admin)
    assert agentorch("keys", "list", url=server.url, key=clerk.stdout.strip()).returncode == 4
    listed = json.loads(agentorch("keys", "-o", "json", url=server.url, key=admin).stdout)
    assert [key["secret"] for key in listed] == [None, None]
    revoked = agentorch("keys", "revoke", listed[1]["id"], url=server.url, key=admin)
    assert revoked.returncode == 0, revoked.stderr
    assert agentorch("jobs", url=server.url, key=clerk.stdout.strip()).returncode == 4


def test_mode_is_lowered_and_raised(server: Live) -> None:
    assert agentorch("mode", "paused", "--reason", "lunch", url=server.url).returncode == 0
    assert json.loads(agentorch("mode", "-o", "json", url=server.url).stdout)["reason"] == "lunch"
    approver = server.key(Role.approve)
    assert agentorch("mode", "guarded", url=server.url, key=approver).returncode == 4


def propose(server: Live, workers: int) -> str:
    """A proposal that waits for a person: in mode approve everything is asked."""

    async def hand_in() -> str:
        observation = await server.port.observe()
        draft = Draft(action={"kind": "scale", "pool": "cpu", "workers": workers}, reason="the queue grows")
        proposals = await server.port.hand_in(observation.cycle, BrainReport(brain="rule", drafts=(draft,)))
        return proposals[0].id

    return server.ask(hand_in)


def test_approvals_are_shown_and_answered(server: Live) -> None:
    server.command(cmd.SetMode(mode=Mode.approve, by="test"))
    first = propose(server, 4)
    shown = json.loads(agentorch("approvals", "-o", "json", url=server.url).stdout)
    assert [one["id"] for one in shown] == [first]
    assert shown[0]["action"] == {"kind": "scale", "pool": "cpu", "workers": 4}
    edited = agentorch("edit", first, "workers=3", "--reason", "slowly", url=server.url)
    assert edited.returncode == 0, edited.stderr
    assert agentorch("approve", first, url=server.url).returncode in (1, 7)
    assert agentorch("approve", "prop-999999", url=server.url).returncode == 5
    decided = json.loads(agentorch("approvals", "--all-states", "-o", "json", url=server.url).stdout)
    assert decided[0]["answer"]["kind"] == "edit"
    assert decided[0]["action"]["workers"] == 3
    assert "cycle" in agentorch("decisions", url=server.url).stdout.lower()
    whole = agentorch("decisions", "1", url=server.url)
    assert first in whole.stdout


def test_a_widened_edit_is_a_guardrails_no(server: Live) -> None:
    server.command(cmd.SetMode(mode=Mode.approve, by="test"))
    name = propose(server, 3)
    done = agentorch("edit", name, "workers=8", url=server.url)
    assert done.returncode in (2, 6), done.stderr
    rejected = agentorch("reject", name, "--reason", "no", url=server.url)
    assert rejected.returncode == 0


def test_nobody_there_is_three() -> None:
    done = process("jobs", url="http://127.0.0.1:9")
    assert (done.returncode, done.stdout) == (3, "")
    assert "127.0.0.1:9" in done.stderr


@pytest.mark.parametrize(
    "arguments", [("frobnicate",), ("jobs", "--no-such-option"), ("mode", "reckless"), ("submit",)]
)
def test_usage_mistakes_are_two(arguments: tuple[str, ...]) -> None:
    done = agentorch(*arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr.startswith("agentorch: ")


def test_doctor_looks_at_machine_and_server(server: Live) -> None:
    found = json.loads(agentorch("doctor", "-o", "json", url=server.url).stdout)
    verdicts = {one["what"]: one["verdict"] for one in found}
    assert verdicts["server"] == "ok"
    assert verdicts["python"] == "ok"
    assert json.loads(agentorch("doctor", "-o", "json", url="http://127.0.0.1:9").stdout)[-1]["verdict"] == "warning"


def test_scale_is_what_a_draft_becomes() -> None:
    """The shape that these tests hand in is the one that the model reads."""
    import msgspec

    assert msgspec.convert({"kind": "scale", "pool": "cpu", "workers": 4}, Scale) == Scale("cpu", 4)
