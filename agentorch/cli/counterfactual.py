"""`agentorch replay LEDGER --brain ...`: what another brain, or other settings, would have made of a recording."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter

from agentorch.cli.brains import parse_brain
from agentorch.cli.branches import PROGRESS
from agentorch.cli.common import pairs
from agentorch.cli.other_brain import RECORDED
from agentorch.cli.output import Printer, note, safe, span
from agentorch.config.overrides import OF_BRAINS, read_overrides
from agentorch.config.settings import load
from agentorch.errors import ConfigError
from agentorch.ledger.sqlite import SqliteLedger
from agentorch.model.brain import Brain
from agentorch.runtime.recording import Recording
from agentorch.schemas.replay import CycleDocument, MeasureDocument, ReplayDocument, StanceDocument
from agentorch.schemas.twin import RangeDocument
from agentorch.simulation.asking import Recorded
from agentorch.simulation.day_plot import plot
from agentorch.simulation.replay import Asked, Progress, replay, reports_of, untold

#: Characters of a reason to hold; the JSON has it whole.
HOLD_SHOWN: Final = 160


@Parameter(name="*")
@dataclass(frozen=True)
class Other:
    """Another brain, other settings, and of which part of the recording."""

    brain: Annotated[
        str | None,
        Parameter(
            help="Ask this brain what it would have done: rules, recorded (what was said then, which is the default "
            "with --set), openai:MODEL or openai:MODEL@BASE_URL, or a Python file with a brain in it, which is run."
        ),
    ] = None
    settings: Annotated[
        list[str] | None,
        Parameter(
            name="--set",
            negative="",
            help="A setting as it should have been, KEY=VALUE: pools.NAME.KEY, tenants.NAME.KEY, guardrails.KEY, "
            "supervisor.mode. Repeat it for more.",
        ),
    ] = None
    from_: Annotated[
        str | None, Parameter(name="--from", help="Begin at this time; ISO 8601, or a sequence as #123.")
    ] = None
    to: Annotated[str | None, Parameter(name="--to", help="End at this time; ISO 8601, or a sequence as #123.")] = None
    day: Annotated[
        bool, Parameter(negative="--no-day", help="Also drive the whole time again, with the one and the other.")
    ] = True
    twin: Annotated[
        bool, Parameter(negative="--no-twin", help="The brain may ask the twin. Without it all goes much faster.")
    ] = True
    plot: Annotated[Path | None, Parameter(help="Write a picture of both courses over time, an SVG.")] = None
    timeout: Annotated[float, Parameter(help="Longest that the brain may think in one cycle, seconds.")] = 30.0

    config: Annotated[Path | None, Parameter(help="A configuration file for the brain, instead of agentorch.toml.")] = (
        None
    )
    progress: Annotated[bool, Parameter(negative="", show=False)] = False

    @property
    def asked(self) -> bool:
        return self.brain is not None or bool(self.settings)


def counterfactual(file: Path, other: Other, output: str, moment_ms: Callable[[str], int]) -> int:
    """Compare, and print. Raises ConfigError."""
    if output not in ("table", "json"):
        raise ConfigError(f"--output {output}: a replay with another brain is told as table or json")
    if other.plot is not None and not other.day:
        raise ConfigError(f"--plot {other.plot}: there is nothing to draw with --no-day")
    if other.timeout <= 0:
        raise ConfigError(f"--timeout must be more than 0, not {other.timeout:g}")
    document = asyncio.run(compare(file, other, moment_ms, _progress(to_program=other.progress)))
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
    if other.plot is not None:
        _write(other.plot, plot(document))
    if output == "json":
        print(document.model_dump_json(indent=2))
    else:
        _print(document)
    return 0


async def compare(
    file: Path, other: Other, moment_ms: Callable[[str], int], progress: Progress = untold
) -> ReplayDocument:
    """Raises ConfigError, LedgerError."""
    overrides = read_overrides(pairs(other.settings, "--set"))
    name = other.brain or RECORDED
    given = {key: value for key, value in overrides.given.items() if key in OF_BRAINS}
    brain = None if name == RECORDED else parse_brain(name, load(config_file=other.config, flags=given))
    recording = Recording(SqliteLedger(file, read_only=True), str(file))
    await recording.open()
    try:
        after = 0 if other.from_ is None else _before(recording, other.from_, moment_ms)
        upto = None if other.to is None else _seq(recording, other.to, moment_ms)
        asked = Asked(
            overrides=overrides, after=after, upto=upto, day=other.day, twin=other.twin, timeout_s=other.timeout
        )
        return await replay(recording, brain or _recorded(recording), asked, progress)
    finally:
        await recording.close()


def _recorded(recording: Recording) -> Brain:
    return Recorded(reports_of(recording.events))


def _seq(recording: Recording, text: str, moment_ms: Callable[[str], int]) -> int:
    if not text.startswith("#"):
        return recording.seq_at(moment_ms(text))
    if not text[1:].isdecimal():
        raise ConfigError(f"{text!r}: expected a sequence number such as #123")
    return int(text[1:])


def _before(recording: Recording, text: str, moment_ms: Callable[[str], int]) -> int:
    """The sequence after which a window begins whose first event is at this time, or this one."""
    return (
        max(0, _seq(recording, text, moment_ms) - 1) if text.startswith("#") else recording.seq_at(moment_ms(text) - 1)
    )


def _progress(*, to_program: bool) -> Progress:
    """A line on stderr that people see change, or a line each time for a program that asked for it."""
    if to_program:
        return lambda done, total: note(f"{PROGRESS} {done} {total}")
    if not sys.stderr.isatty():
        return untold

    def tell(done: int, total: int) -> None:
        print(f"\r{done:,} of {total:,} cycles", end="", file=sys.stderr, flush=True)

    return tell


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--plot {path}: can't be written: {error.strerror}") from error


# -- for people


def _print(document: ReplayDocument) -> None:
    printer = Printer("table")
    different = [cycle for cycle in document.cycles if not cycle.same]
    was = ", ".join(document.was_brains) or "nobody"
    print(f"{document.ledger}: {len(document.cycles)} decisions of {was}, put before {document.brain}")
    for key, value in document.settings.items():
        print(f"  with {safe(key)} = {safe(value)}")
    print(f"{document.same} decided alike, {document.different} otherwise")
    for cycle in different:
        _cycle(cycle)
    if document.summary:
        print()
        printer.rows(document.summary, _COLUMNS)
    for text in document.notes:
        note(f"note: {text}")


def _cycle(cycle: CycleDocument) -> None:
    moment = datetime.fromtimestamp(cycle.at, UTC).strftime("%H:%M:%S")
    print(f"\n{moment}  cycle {cycle.cycle}, sequence {cycle.seq}")
    for label, side in (("was", cycle.was), ("would", cycle.would)):
        print(f"  {label:<6}{safe(_side(side))}")
    predicted = cycle.predicted
    if predicted.was is not None and predicted.would is not None:
        was, would = (_saves(gain) for gain in (predicted.was_gain_s, predicted.would_gain_s))
        paid = [f"${course.cost_usd_micros.mid / 1e6:.2f}" for course in (predicted.was, predicted.would)]
        print(
            f"  twin  in {span(predicted.horizon_s)} saves {was}, costs {paid[0]}; would save {would}, cost {paid[1]}"
        )


def _saves(gain: RangeDocument | None) -> str:
    if gain is None or not (gain.low or gain.high):
        return "no waiting"
    return f"{_number(gain.mid, 's')} of waiting ({_number(gain.low, 's')} to {_number(gain.high, 's')})"


def _side(side: StanceDocument) -> str:
    if side.error:
        return f"error: {side.error}"
    if not side.actions:
        return f"holds: {side.hold if len(side.hold) <= HOLD_SHOWN else side.hold[:HOLD_SHOWN] + '…'}"
    return "; ".join(f"{one.title} ({one.ruling}{f', {one.state}' if one.state else ''})" for one in side.actions)


def _number(value: float | None, unit: str) -> str:
    if value is None:
        return "?"
    if unit == "s":
        return f"-{span(-value)}" if value < 0 else span(value)
    text = f"{value:,.2f}" if unit == "usd" else f"{value:,.0f}"
    return text.lstrip("-") if not float(text.replace(",", "")) else text


_COLUMNS: Final[list[tuple[str, Callable[[MeasureDocument], str]]]] = [
    ("measure", lambda one: one.measure),
    ("unit", lambda one: one.unit),
    ("really", lambda one: _number(one.measured, one.unit)),
    ("was, again", lambda one: _number(one.was, one.unit)),
    ("would", lambda one: _number(one.would, one.unit)),
    ("difference", lambda one: _number(one.difference, one.unit)),
]
