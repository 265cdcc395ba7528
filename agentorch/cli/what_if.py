"""`agentorch what-if ACTION TARGET [VALUE]`."""

from __future__ import annotations

from typing import Any, Final, Literal

from agentorch.cli.common import Common, call
from agentorch.cli.impacts import between, label, signed, written
from agentorch.cli.output import Printer, note, safe, span
from agentorch.client import Client
from agentorch.errors import ConfigError
from agentorch.schemas.supervision import ForeseenDocument
from agentorch.schemas.twin import ChangeDocument

Kind = Literal["scale", "cordon", "uncordon", "reroute", "priority", "pause", "resume", "preempt", "requeue"]
_TARGETS: Final = {"scale": "pool", "cordon": "worker", "uncordon": "worker"}  # of the others: job
_VALUES: Final = {"scale": "number of workers", "reroute": "pool to send it to", "priority": "priority, 0 to 100"}


def what_if(action: Kind, target: str, value: str = "", *, common: Common | None = None) -> int:
    """What would come of an action, as the twin foresees it, and what the guardrails say of it. Changes nothing.

    Parameters
    ----------
    action
        scale POOL N, cordon or uncordon WORKER, reroute JOB POOL, priority JOB N; pause, resume, preempt, requeue JOB.
    target
        The pool, worker or job that it acts on.
    value
        To how many workers, which pool, which priority.
    """
    wanted = action_of(action, target, value)

    async def work(client: Client, out: Printer) -> None:
        found = await client.foresee(wanted)
        if out.form != "table":
            out.one(found, [])
        else:
            _print(out, found)

    return call(common, work)


def action_of(kind: str, target: str, value: str) -> dict[str, Any]:
    """The action as a brain would say it. Raises ConfigError."""
    if kind in _VALUES and not value:
        raise ConfigError(f"what-if {kind} {target}: say the {_VALUES[kind]} after it")
    if kind not in _VALUES and value:
        raise ConfigError(f"what-if {kind} {target}: takes nothing after the target, not {value!r}")
    if kind == "scale":
        return {"kind": kind, "pool": target, "workers": _whole(kind, value)}
    if kind in _TARGETS:
        return {"kind": kind, _TARGETS[kind]: target}
    if kind == "reroute":
        return {"kind": kind, "job": target, "pool": value}
    change: dict[str, Any] = {"kind": "reschedule", "job": target, "change": kind}
    return change | ({"priority": _whole(kind, value)} if kind == "priority" else {})


def _whole(kind: str, value: str) -> int:
    try:
        return int(value)
    except ValueError as error:
        raise ConfigError(f"what-if {kind}: expected a whole number, not {value!r}") from error


def _print(out: Printer, found: ForeseenDocument) -> None:
    impact = found.impact
    note(f"{safe(found.title)} (on sequence {found.seq}; nothing was proposed)")
    if impact.changes:
        _table(out, impact.changes)
    if impact.draws:
        gain = impact.gain_s
        note(f"waiting saved, all jobs together: {signed(gain.mid)} ({signed(gain.low)} to {signed(gain.high)})")
        early = "; stopped early: less far ahead than wanted" if impact.stopped_early else ""
        note(f"{span(impact.horizon_s)} ahead, {impact.draws} draws, {impact.steps} simulated events{early}")
    for text in (impact.text, found.rests_on):
        if text:
            note(safe(text))
    note(f"guardrails: {found.ruling}")
    for one in found.notes:
        if one.ruling != "allow":
            note(f"  {one.rule} {one.ruling}: {safe(one.text)}")


def _table(out: Printer, changes: list[ChangeDocument]) -> None:
    out.rows(
        changes,
        [
            ("measure", lambda one: label(one.measure)),
            ("no action", lambda one: written(one.measure, one.idle.mid)),
            ("with it", lambda one: written(one.measure, one.acted.mid)),
            ("8 of 10 futures", lambda one: between(one.measure, one.acted)),
            ("", lambda one: "in the noise" if one.judged == "unclear" else one.judged),
        ],
    )
