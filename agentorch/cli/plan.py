"""`agentorch plan -- COMMAND`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from agentorch.cli.common import Common, call
from agentorch.cli.exits import FAILED
from agentorch.cli.joboptions import JobOptions, job_body
from agentorch.cli.output import Printer, dollars, foretold, note, safe
from agentorch.client import Client


def plan(
    *command: Annotated[str, Parameter(help="What would run, after --.", allow_leading_hyphen=True)],
    job: JobOptions | None = None,
    common: Common | None = None,
) -> int:
    """What would become of a job, per pool: whether it fits, what it costs, who goes first. Submits nothing."""
    body = job_body(command, job, default="true")

    async def work(client: Client, out: Printer) -> int:
        found = await client.plan(body)
        if out.form != "table":
            out.one(found, [])
        else:
            out.rows(
                found.offers,
                [
                    ("pool", lambda offer: offer.pool),
                    ("fits", lambda offer: offer.feasible),
                    ("now", lambda offer: offer.free_now),
                    ("ahead", lambda offer: offer.position),
                    ("starts in", lambda offer: foretold(offer.start_p50_s, offer.start_p90_s)),
                    ("price/h", lambda offer: dollars(offer.price_usd_per_hour)),
                    ("at most", lambda offer: dollars(offer.max_cost_usd)),
                    ("", lambda offer: offer.text),
                ],
            )
            note(f"{found.text} (judged on sequence {found.seq})")
            note(
                f"starts in: {foretold(found.start_p50_s, found.start_p90_s)}; "
                f"runs for: {foretold(found.duration_p50_s, found.duration_p90_s)}; "
                f"ends in: {foretold(found.end_p50_s, found.end_p90_s)}"
            )
            note(safe(found.forecast_text))
        return 0 if found.feasible else FAILED

    return call(common, work)
