"""`agentorch why ID`."""

from __future__ import annotations

from collections.abc import Iterable

from agentorch.cli.common import Common, call
from agentorch.cli.output import Printer, foretold, safe
from agentorch.client import Client
from agentorch.schemas.documents import PredicateDocument


def why(job_id: str, *, common: Common | None = None) -> int:
    """Why a job is not running: the reason, and every predicate that the scheduler goes by, per pool."""

    async def work(client: Client, out: Printer) -> None:
        found = await client.explain(job_id)
        if out.form != "table":
            out.one(found, [])
            return
        reason = f"{found.reason.code}: {found.reason.text}" if found.reason is not None else "it does not wait"
        print(f"{found.job} is {found.state}; {safe(reason)}")
        if found.position is not None:
            print(f"{found.position} jobs go first")
        if found.start_text:
            starts = foretold(found.start_p50_s, found.start_p90_s, "nobody knows when")
            print(f"expected to start in: {starts} ({safe(found.start_text)})")
        _checks(found.predicates, "")
        for pool in found.pools:
            print(f"{pool.pool}: {'could start here now' if pool.ok else 'not now'}")
            _checks(pool.predicates, "  ")

    return call(common, work)


def _checks(predicates: Iterable[PredicateDocument], indent: str) -> None:
    for one in predicates:
        print(f"{indent}{'ok ' if one.ok else 'NO '} {one.code:<12} {safe(one.text)}")
