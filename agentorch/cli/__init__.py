"""The command line: one file per command, imported only when it is used. stdout is data, stderr is narration.

Owns the composition of everything (`serve`) and how answers become exit codes. Must never hold a rule. fastapi,
langgraph and textual are loaded only by what needs them.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

from cyclopts import App, CycloptsError, Group

from agentorch import __version__
from agentorch.cli.exits import INTERRUPTED, USAGE, exit_code_of
from agentorch.errors import AgentorchError

_RUN: Final = Group.create_ordered("Server")
_JOBS: Final = Group.create_ordered("Jobs")
_WATCH: Final = Group.create_ordered("Fleet and money")
_SUPERVISE: Final = Group.create_ordered("Supervisor")
_RECORD: Final = Group.create_ordered("Record")

#: (name, where it is, group, one line)
COMMANDS: Final = (
    ("up", "agentorch.cli.up:up", _RUN, "Start the server, and the terminal UI on a terminal."),
    ("serve", "agentorch.cli.serve:serve", _RUN, "Run the server in the foreground."),
    ("tui", "agentorch.cli.tui:tui", _RUN, "Open the terminal UI on a running server."),
    ("demo", "agentorch.cli.demo:demo", _RUN, "A real server, a real trace, the supervisor at work."),
    ("doctor", "agentorch.cli.doctor:doctor", _RUN, "Check this machine and the way to the server."),
    ("ray", "agentorch.cli.ray:app", _RUN, "Start, join, show and end a Ray cluster."),
    ("config", "agentorch.cli.config:app", _RUN, "Show, validate or describe the configuration."),
    ("submit", "agentorch.cli.submit:submit", _JOBS, "Submit a job: agentorch submit [options] -- COMMAND."),
    ("run", "agentorch.cli.submit:run", _JOBS, "Submit a job, show its output, end as it ends."),
    ("plan", "agentorch.cli.plan:plan", _JOBS, "What would become of a job, and what it would cost."),
    ("jobs", "agentorch.cli.jobs:jobs", _JOBS, "List jobs, newest first."),
    ("job", "agentorch.cli.job:job", _JOBS, "Show one job, whole."),
    ("why", "agentorch.cli.why:why", _JOBS, "Why a job is not running: every predicate, per pool."),
    ("logs", "agentorch.cli.logs:logs", _JOBS, "Show what a job wrote."),
    ("cancel", "agentorch.cli.cancel:cancel", _JOBS, "Cancel jobs, and say what really happened."),
    ("change", "agentorch.cli.change:change", _JOBS, "Change a job's priority, times or pool; hold or release it."),
    ("pools", "agentorch.cli.pools:pools", _WATCH, "Show pools; scale, pause or resume one."),
    ("nodes", "agentorch.cli.nodes:nodes", _WATCH, "Show the machines that executors list."),
    ("workers", "agentorch.cli.workers:app", _WATCH, "Show workers; cordon, uncordon or repair one."),
    ("devices", "agentorch.cli.devices:app", _WATCH, "Show devices with the age of what is known; repair one."),
    ("budgets", "agentorch.cli.budgets:budgets", _WATCH, "Show budgets; set a tenant's cap, weight or quota."),
    ("keys", "agentorch.cli.keys:app", _WATCH, "List, add and revoke keys."),
    ("approvals", "agentorch.cli.approvals:approvals", _SUPERVISE, "Show what waits for a person's answer."),
    ("approve", "agentorch.cli.answer:approve", _SUPERVISE, "Approve proposals."),
    ("reject", "agentorch.cli.answer:reject", _SUPERVISE, "Reject proposals."),
    ("edit", "agentorch.cli.answer:edit", _SUPERVISE, "Approve a proposal, narrowed: agentorch edit ID workers=3."),
    ("mode", "agentorch.cli.mode:mode", _SUPERVISE, "Show or set how far the supervisor may go."),
    ("decisions", "agentorch.cli.decisions:decisions", _SUPERVISE, "Show what the supervisor decided, and why."),
    ("what-if", "agentorch.cli.what_if:what_if", _SUPERVISE, "What would come of an action, without proposing it."),
    ("replay", "agentorch.cli.replay:replay", _RECORD, "Step through a ledger."),
    ("verify", "agentorch.cli.verify:verify", _RECORD, "Prove that a ledger is whole."),
    ("simulate", "agentorch.cli.simulate:app", _RECORD, "Run the scheduler on a recorded trace, in virtual time."),
)

_EXITS: Final = (
    "Exit codes: 0 ok, 1 failed, 2 usage or configuration, 3 server unreachable, 4 not authorised, 5 not found, "
    "6 guardrail denied, 7 approval rejected or expired, 8 still pending at the time-out, 124 job timed out, "
    "130 interrupted."
)


def build() -> App:
    """The application with every command registered and none of them imported."""
    app = App(
        name="agentorch",
        help="An agent-driven, self-orchestrating runtime for AI compute.",
        help_epilogue=_EXITS,
        version=__version__,
        result_action="return_value",
        help_formatter="plain" if not sys.stdout.isatty() else "default",
    )
    for name, path, group, text in COMMANDS:
        app.command(path, name=name, help=text, group=group)
    return app


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code. Errors are one line on stderr."""
    try:
        result = build()(argv, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        print(f"agentorch: {error}", file=sys.stderr)
        return USAGE
    except AgentorchError as error:
        print(f"agentorch: {error}", file=sys.stderr)
        return exit_code_of(error)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # whoever read stdout has seen enough
        sys.stderr.close()
        return 0
    return result if isinstance(result, int) else 0
