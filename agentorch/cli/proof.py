"""`agentorch replay LEDGER --verify`: every recorded decision again, without any model."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from agentorch.cli.verify import verify_file
from agentorch.errors import ConfigError
from agentorch.ledger.sqlite import SqliteLedger
from agentorch.model.brain import Brain
from agentorch.model.proposals import BrainReport
from agentorch.runtime.recording import Recording
from agentorch.simulation.proof import Talks, hold_again

if TYPE_CHECKING:
    from agentorch.runtime.source import Verification


def prove(file: Path, output: str) -> int:
    """Exit code 0: everything comes out again, byte for byte; 1: not."""
    if output not in ("table", "json"):
        raise ConfigError(f"--output {output}: a proof is told as table or json")
    report, talks = asyncio.run(_proved(file))
    same = report.ok and report.first_different is None and talks.first_talk_different is None
    if output == "json":
        print(json.dumps({"same": same, **msgspec.to_builtins(report), "talks": msgspec.to_builtins(talks)}, indent=2))
    else:
        _print(report, talks, same)
    return 0 if same else 1


async def _proved(file: Path) -> tuple[Verification, Talks]:
    report = await verify_file(file)
    if not report.ok:
        return report, Talks()
    recording = Recording(SqliteLedger(file, read_only=True), str(file))
    await recording.open()
    try:
        return report, await hold_again(recording.events, _replayed)
    finally:
        await recording.close()


def _replayed(report: BrainReport) -> Brain:
    from agentorch.graphs.llm.cassette import replayed  # half a second, and only for recordings of models

    return replayed(report)


def _print(report: Verification, talks: Talks, same: bool) -> None:
    if same and report.verdicts_of_older_rules and not report.proposals_same:
        print("nothing differs, and nothing could be compared: every verdict is of older rules")
    else:
        print("the same, byte for byte" if same else "NOT the same")
    if not report.ok:
        print(f"sequence {report.first_bad_seq}: {report.why}")
        return
    print(f"{report.reports_handed_in_again} reports handed in again to the core, on their recorded states")
    print(f"{report.proposals_same} proposals the same: verdicts, hashes and all")
    if report.first_different is not None:
        print(f"the first that differs is at sequence {report.first_different}")
    if report.proposals_not_again:
        print(f"{report.proposals_not_again} drafts were no actions: they are recorded cleaned, and denied")
    if report.verdicts_of_older_rules:
        print(f"{report.verdicts_of_older_rules} verdicts of older rules: not judged again")
    if talks.talks_held_again:
        print(f"{talks.talks_same} of {talks.talks_held_again} talks with models, held again from the record, the same")
    if talks.first_talk_different is not None:
        print(f"the first that differs is at sequence {talks.first_talk_different}: {talks.why}")
    if talks.talks_not_again:
        print(f"{talks.talks_not_again} talks can't be held again: {talks.why}")
