"""The checkpoint file is a cache: deleted, damaged or foreign, nothing is lost with it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from agentorch.graphs.checkpoints import Checkpoints
from agentorch.model.proposals import AnswerKind
from tests.graphs.brains import Saying
from tests.graphs.stage import Stage
from tests.graphs.supervising import supervising
from tests.graphs.waiting import eventually

Restart = Callable[[], Stage]


def delete(path: Path) -> None:
    path.unlink()


def scribble(path: Path) -> None:
    path.write_bytes(b"this is no database " * 1_000)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def cut(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2 - 100])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    for offset in range(4096, len(content), 7):
        content[offset] ^= 0xFF
    path.write_bytes(content)


def make_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "precious").write_text("kept")


def other_tables(path: Path) -> None:
    path.unlink()
    run_sql(path, "CREATE TABLE checkpoints(thread_id TEXT)", "CREATE TABLE writes(a)")


def foreign_blobs(path: Path) -> None:
    run_sql(path, "UPDATE checkpoints SET checkpoint = x'c1c1c1'", "UPDATE writes SET value = x'c1'")


def lose_questions(path: Path) -> None:
    run_sql(path, "DELETE FROM writes")


def lose_answers(path: Path) -> None:
    run_sql(path, "DELETE FROM checkpoints")


def run_sql(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


HARMLESS = (delete, empty, lose_questions, lose_answers)
NOTICED_AT_START = (scribble, cut, flip, make_a_folder, other_tables)
NOTICED_WHEN_USED = (foreign_blobs,)


@pytest.mark.parametrize("harm", [*HARMLESS, *NOTICED_AT_START, *NOTICED_WHEN_USED], ids=lambda harm: harm.__name__)
@pytest.mark.parametrize("answered", ["down", "up"])
def test_harm_done_while_pending_loses_nothing(
    open_stage: Restart, tmp_path: Path, harm: Callable[[Path], None], answered: str
) -> None:
    checkpoints = tmp_path / "checkpoints.db"

    async def before() -> tuple[str, str]:
        stage = open_stage()
        brain = Saying((stage.asked(0), stage.asked(1)))
        async with supervising(stage.port, brain, checkpoints=checkpoints) as supervisor:
            first, second = (proposal.id for proposal in (await supervisor.run_cycle()).proposals)
        if answered == "down":
            await stage.answer(first, AnswerKind.approve)
        return first, second

    async def after(first: str, second: str) -> None:
        stage = open_stage()
        async with supervising(stage.port, Saying(), checkpoints=checkpoints) as supervisor:
            if answered == "up":
                await stage.answer(first, AnswerKind.approve)
            await eventually(lambda: stage.effects(first) == 1)
            await supervisor.threads.push(first)
            assert (stage.state(second), stage.effects(second)) == ("open", 0)
            await stage.answer(second, AnswerKind.approve)
            await eventually(lambda: stage.effects(second) == 1)
            codes = [code for code, _ in stage.alerts()]
            assert codes == ([] if harm in HARMLESS else ["checkpoints-rebuilt"])
        if harm is make_a_folder:
            assert (tmp_path / "checkpoints.db.unusable" / "precious").read_text() == "kept"

    pending = asyncio.run(before())
    harm(checkpoints)
    asyncio.run(after(*pending))


@pytest.mark.parametrize("harm", NOTICED_AT_START, ids=lambda harm: harm.__name__)
def test_opening_says_what_was_wrong_and_serves(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    async def scenario() -> None:
        path = tmp_path / "checkpoints.db"
        troubles = []
        for _ in range(3):
            checkpoints = Checkpoints(path)
            try:
                troubles.append(await checkpoints.open())
                assert await checkpoints.threads() == set()
            finally:
                await checkpoints.close()
            if len(troubles) == 1:
                harm(path)
        assert [bool(trouble) for trouble in troubles] == [False, True, False]
        assert "checkpoints.db.unusable" in troubles[1]

    asyncio.run(scenario())


def test_damage_under_a_running_supervisor_loses_nothing(stage: Stage, tmp_path: Path) -> None:
    async def scenario() -> None:
        checkpoints = tmp_path / "checkpoints.db"
        brain = Saying((stage.asked(0), stage.asked(1)), (stage.asked(2),))
        async with supervising(stage.port, brain, checkpoints=checkpoints) as supervisor:
            waiting = [proposal.id for proposal in (await supervisor.run_cycle()).proposals]
            run_sql(checkpoints, "DROP TABLE writes")
            waiting += [proposal.id for proposal in (await supervisor.run_cycle()).proposals]
            assert [code for code, _ in stage.alerts()] == ["checkpoints-rebuilt"]
            await supervisor.reconcile()
            assert await supervisor.threads.waiting() == set(waiting)
            run_sql(checkpoints, "DROP TABLE writes")
            for each in waiting:
                await stage.answer(each, AnswerKind.approve)
            await eventually(lambda: all(stage.effects(each) == 1 for each in waiting))

    asyncio.run(scenario())


def test_where_no_file_can_be_made_memory_serves(stage: Stage, tmp_path: Path) -> None:
    async def scenario() -> None:
        (tmp_path / "file").write_text("no folder")
        checkpoints = tmp_path / "file" / "checkpoints.db"
        async with supervising(stage.port, Saying((stage.asked(),)), checkpoints=checkpoints) as supervisor:
            waiting = (await supervisor.run_cycle()).proposals[0].id
            assert "kept in memory" in stage.alerts()[0][1]
            await stage.answer(waiting, AnswerKind.approve)
            await eventually(lambda: stage.effects(waiting) == 1)

    asyncio.run(scenario())


def test_settled_proposals_leave_nothing_in_the_file(stage: Stage, tmp_path: Path) -> None:
    async def scenario() -> None:
        checkpoints = tmp_path / "checkpoints.db"
        brain = Saying(tuple(stage.asked(n) for n in range(5)))
        async with supervising(stage.port, brain, checkpoints=checkpoints) as supervisor:
            waiting = [proposal.id for proposal in (await supervisor.run_cycle()).proposals]
            for each in waiting:
                await stage.answer(each, AnswerKind.approve)
                await eventually(lambda each=each: stage.effects(each) == 1)  # type: ignore[misc]
            for each in waiting:
                await supervisor.threads.push(each)
        connection = sqlite3.connect(checkpoints)
        counts = [connection.execute(f"SELECT count(*) FROM {table}").fetchone() for table in ("checkpoints", "writes")]
        connection.close()
        assert counts == [(0,), (0,)]

    asyncio.run(scenario())


@dataclass
class Smuggled:
    value: int


def test_a_stored_checkpoint_cannot_name_a_type_to_be_built(tmp_path: Path) -> None:
    async def scenario() -> None:
        permissive = JsonPlusSerializer(allowed_msgpack_modules=True)
        stored = permissive.dumps_typed(Smuggled(7))
        assert permissive.loads_typed(stored) == Smuggled(7)
        for path in (tmp_path / "checkpoints.db", None):
            checkpoints = Checkpoints(path)
            try:
                assert await checkpoints.open() == ""
                assert checkpoints.saver.serde.loads_typed(stored) == {"value": 7}
            finally:
                await checkpoints.close()

    asyncio.run(scenario())
