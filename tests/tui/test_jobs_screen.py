"""The jobs screen: filter, sort, cursor, cancel, priority, and its one job in detail."""

from __future__ import annotations

from typing import Any

import pytest

from agentorch.tui.app import AgentorchApp
from agentorch.tui.screens.job import Job
from agentorch.tui.screens.job_filter import JobFilter, parse
from agentorch.tui.screens.jobs import Jobs
from agentorch.tui.screens.log_tail import KEPT_LINES, LogTail, clean
from tests.tui.driving import drive, make_app, recording, screen_text, sent, settle, type_keys


def jobs_page(app: AgentorchApp) -> Jobs:
    assert isinstance(app.page, Jobs)
    return app.page


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", JobFilter()),
        ("state:queued", JobFilter(state="queued")),
        ("state:queued,held tenant:search /llama", JobFilter(state="queued,held", tenant="search", q="llama")),
        ("team:ads pool:h100 label:run=7", JobFilter(tenant="ads", pool="h100", label="run=7")),
        ("two words", JobFilter(q="two words")),
        ("/", JobFilter()),
    ],
)
def test_the_grammar(text: str, wanted: JobFilter) -> None:
    assert parse(text) == (wanted, "")


@pytest.mark.parametrize(
    ("text", "trouble"),
    [
        ("state:quued", "there is no state 'quued'"),
        ("state:", "state: needs a value"),
        ("colour:red", "there is no 'colour'"),
    ],
)
def test_what_is_wrong_is_said(text: str, trouble: str) -> None:
    assert parse(text)[1].startswith(trouble)


def test_a_filter_written_out_is_read_back() -> None:
    wanted = JobFilter(state="failed", tenant="core", label="a=b", q="ocr")
    assert parse(str(wanted)) == (wanted, "")


def test_filtering_by_keys_narrows_the_table() -> None:
    async def scenario(app: AgentorchApp, pilot: Any) -> None:
        await type_keys(app, pilot, "2 slash s t a t e colon f a i l e d enter")
        page = jobs_page(app)
        assert page.table.rows
        assert {job.state for job in page.table.rows} == {"failed"}
        assert any("state:failed" in row for row in screen_text(app))
        await type_keys(app, pilot, "escape")
        assert page.total == 320

    drive(make_app(), scenario)


def test_a_wrong_filter_stays_open_and_says_why() -> None:
    async def scenario(app: AgentorchApp, pilot: Any) -> None:
        await type_keys(app, pilot, "2 slash x colon 1 enter")
        assert any("there is no 'x'" in row for row in screen_text(app))
        assert jobs_page(app).total == 320

    drive(make_app(), scenario)


def test_nothing_found_is_not_the_same_as_nothing_there() -> None:
    async def scenario(app: AgentorchApp, pilot: Any) -> None:
        await type_keys(app, pilot, "2 slash z z z enter")
        assert any("no job matches zzz: esc shows all" in row for row in screen_text(app))

    drive(make_app(), scenario)


def test_the_cursor_stays_on_its_job_when_rows_come_in() -> None:
    async def scenario(app: AgentorchApp, pilot: Any) -> None:
        await type_keys(app, pilot, "2 down down down")
        page = jobs_page(app)
        before = page.table.current
        api = app.feed.recorded  # type: ignore[attr-defined]
        newer = [job.model_copy(update={"id": f"job-new-{number}"}) for number, job in enumerate(api.all_jobs[:5])]
        api.all_jobs = newer + api.all_jobs
        assert app.feed.snapshot is not None
        app.feed.snapshot.seq += 1
        app.feed.changed()
        await settle(app, pilot)
        assert page.total == 325
        assert before is not None
        assert page.table.current is not None
        assert page.table.current.id == before.id

    drive(make_app(), scenario)


def test_more_rows_come_when_the_cursor_nears_the_end() -> None:
    async def scenario(app: AgentorchApp, pilot: Any) -> None:
        await type_keys(app, pilot, "2 end")
        await type_keys(app, pilot, "end")
        page = jobs_page(app)
        assert len(page.table.rows) == 320
        assert page.table.current is not None
        assert page.table.current.id == "job-319"

    drive(make_app(), scenario)


def test_sorting_by_wait_and_only_faults() -> None:
    async def scenario(app: AgentorchApp, pilot: Any) -> None:
        await type_keys(app, pilot, "2 s")
        page = jobs_page(app)
        waits = [job.wait_s for job in page.table.rows]
        assert waits == sorted(waits, reverse=True)
        assert any("sorted by wait of the 200 loaded" in row for row in screen_text(app))
        await type_keys(app, pilot, "ctrl+z")
        assert {job.state for job in page.table.rows} == {"failed"}

    drive(make_app(), scenario)


def test_cancel_asks_and_keeps_by_default() -> None:
    async def scenario(app: AgentorchApp, pilot: Any) -> None:
        await type_keys(app, pilot, "2 x")
        assert any("Cancel job-0 embed-docs-0?" in row for row in screen_text(app))
        await type_keys(app, pilot, "enter")
        assert sent(app) == []
        await type_keys(app, pilot, "x right enter")
        assert sent(app) == [("cancel", {"job": "job-0"})]
        assert any("job-0 is stopping" in row for row in screen_text(app))

    drive(make_app(), scenario)


def test_what_has_ended_can_not_be_cancelled() -> None:
    async def scenario(app: AgentorchApp, pilot: Any) -> None:
        await type_keys(app, pilot, "2 down x")
        assert any("job-1 has already ended: succeeded" in row for row in screen_text(app))
        assert len(app.screen_stack) == 1

    drive(make_app(), scenario)


def test_priority_is_checked() -> None:
    async def scenario(app: AgentorchApp, pilot: Any) -> None:
        await type_keys(app, pilot, "2 p backspace 1 0 1 enter")
        assert any("a whole number from 0 to 100" in row for row in screen_text(app))
        await type_keys(app, pilot, "backspace enter")
        assert sent(app) == [("patch_job", {"job": "job-0", "priority": 10})]

    drive(make_app(), scenario)


def test_detail_explains_why_it_waits_and_goes_back() -> None:
    made = recording()
    made["jobs"][1] |= {"state": "queued", "attempt": 0, "attempts": [], "started_at": None, "ended_at": None}

    async def scenario(app: AgentorchApp, pilot: Any) -> None:
        await type_keys(app, pilot, "2 down enter")
        shown = "\n".join(screen_text(app))
        assert isinstance(app.page, Job)
        assert "14 jobs before it" in shown
        assert "no worker has 4 free gpus" in shown
        assert "it has not started: there are no logs yet" in shown
        await type_keys(app, pilot, "escape")
        assert jobs_page(app).table.current is not None
        assert jobs_page(app).table.current.id == "job-1"  # type: ignore[union-attr]

    drive(make_app(made), scenario)


def test_the_ranks_of_a_gang_are_listed_and_their_logs_are_a_key_away() -> None:
    made = recording()
    rank = {"worker": "w", "started_at": 1.0, "ended_at": 2.0, "exit_code": None, "signal": 15, "cause": "gang"}
    ranks = [rank | {"worker": f"h100-{number}"} for number in range(20)]
    ranks[18] |= {"exit_code": 3, "signal": None, "cause": "error"}
    attempt = {"number": 1, "worker": "h100-0", "pool": "h100", "ranks": ranks, "failed_rank": 18, "ended_at": 2.0}
    made["jobs"][1] |= {"workers": 20, "attempt": 1, "attempts": [attempt], "state": "failed"}

    async def scenario(app: AgentorchApp, pilot: Any) -> None:
        await type_keys(app, pilot, "2 down enter")
        shown = "\n".join(screen_text(app))
        assert "20 ranks at once, or none" in shown
        assert shown.index("rank 18  exit 3, error") < shown.index("rank 0   signal 15, gang")
        await type_keys(app, pilot, "end")
        assert any("and 4 more ranks" in row for row in screen_text(app))
        await type_keys(app, pilot, "r")
        assert isinstance(app.page, Job)
        assert app.page.rank == 1
        assert any("attempt 1 · rank 1 · stdout" in row for row in screen_text(app))

    drive(make_app(made), scenario, (160, 60))


def test_a_function_is_shown_where_a_command_would_be() -> None:
    made = recording()
    made["jobs"][1] |= {"name": "", "command": [], "entry": {"call": "work:score"}, "result": {"mean": 0.5}}

    async def scenario(app: AgentorchApp, pilot: Any) -> None:
        await type_keys(app, pilot, "2 down enter")
        shown = "\n".join(screen_text(app))
        assert "$ work:score()" in shown
        assert '{"mean": 0.5}' in shown
        await type_keys(app, pilot, "r")
        assert any("this job is no gang" in row for row in screen_text(app))

    drive(make_app(made), scenario)


def test_finding_in_logs_stops_following() -> None:
    async def scenario(app: AgentorchApp, pilot: Any) -> None:
        await type_keys(app, pilot, "2 down l slash 1 2 8 slash enter")
        page = app.page
        assert isinstance(page, Job)
        assert page.log_pager.follow is False
        assert page.log_pager.found == 0
        assert any("loading shards 128/128" in row for row in screen_text(app))

    drive(make_app(), scenario)


def test_a_job_that_is_not_there_says_so() -> None:
    async def scenario(app: AgentorchApp, pilot: Any) -> None:
        await type_keys(app, pilot, "colon j o b minus 9 9 9 9 enter")
        assert any("there is no job job-9999" in row for row in screen_text(app))

    drive(make_app(), scenario)


def test_log_text_comes_in_any_pieces() -> None:
    tail = LogTail()
    for piece in ("one\ntw", "o\n\x1b[31mred\x1b[0m", " end\n", "half"):
        tail.feed(piece)
    assert list(tail.lines) == ["one", "two", "red end"]
    assert "".join(span.text for span in tail.drawn(80, wrapped=False, sought="")[-1]) == "half"


def test_a_progress_bar_shows_its_last_state() -> None:
    assert clean("10%\r20%\r30%\r") == "30%"
    assert clean("a\tb\x07") == "a       b "


def test_old_lines_go_and_are_counted() -> None:
    tail = LogTail()
    tail.feed("".join(f"{number}\n" for number in range(KEPT_LINES + 7)))
    assert tail.dropped == 7
    assert tail.lines[0] == "7"
    assert "7 older lines are not shown" in tail.drawn(80, wrapped=False, sought="")[0][0].text
