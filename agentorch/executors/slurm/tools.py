"""Slurm's command-line tools: what is asked of them, and what their answers mean. Blocking; called from threads only.

Every tool's exit status other than 0 is taken as "could not be asked", except where sbatch clearly refuses a job: a
query that failed must never look like an empty answer. Formats and states: https://slurm.schedmd.com/squeue.html,
https://slurm.schedmd.com/sinfo.html.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from agentorch.errors import ExecutorError, NodeUnreachable
from agentorch.executors.environment import default_environment
from agentorch.executors.slurm.batch import Submission
from agentorch.executors.slurm.options import SlurmOptions

#: States in which a job's processes may exist, or may come to exist. Whatever else squeue says, it is over.
_LIVE: Final = frozenset(
    {
        "PENDING",
        "RUNNING",
        "SUSPENDED",
        "COMPLETING",
        "CONFIGURING",
        "STAGE_OUT",
        "STOPPED",
        "SIGNALING",
        "RESIZING",
        "RESV_DEL_HOLD",
        "REQUEUE_FED",
        "REQUEUE_HOLD",
        "REQUEUED",
        "SPECIAL_EXIT",
    }
)
#: What sbatch says when the controller did not take the job for want of an answer, not for want of will.
_UNANSWERED: Final = re.compile(
    r"unable to contact|timed out|zero bytes|connect failure|connection refused|communication|temporarily|"
    r"munge|authentication|protocol",
    re.IGNORECASE,
)
#: What scancel says of jobs that need no cancelling any more, or can't be signalled yet: for some of them nothing, and
#: an exit status; when the controller does not answer, it always says so.
_ENDED: Final = re.compile(r"already complet|invalid job id|pending execution|^exit status", re.IGNORECASE)
_NODE_FORMAT: Final = "%N|%R|%P|%c|%m|%T|%o|%G|%f|%E"  # the reason last: it is text


class SlurmRefused(ExecutorError):
    """sbatch would not take the job; the message is its own."""


class SlurmJob(NamedTuple):
    id: str
    state: str
    name: str

    @property
    def is_live(self) -> bool:
        return self.state in _LIVE


class SlurmNode(NamedTuple):
    """One line of sinfo: a node in one of its partitions."""

    name: str
    partition: str
    is_default: bool  # its partition takes what names none
    cpus: int
    memory_mb: int
    state: str
    address: str
    gres: str
    features: str
    reason: str


class SlurmTools:
    def __init__(self, options: SlurmOptions) -> None:
        self._options = options
        # Nothing of the runtime's environment goes into a batch job, where Slurm keeps it.
        self._environment = {**default_environment(), "PATH": os.environ.get("PATH", os.defpath)}
        if options.conf is not None:
            self._environment["SLURM_CONF"] = str(options.conf)

    def jobs(self) -> list[SlurmJob]:
        """Every job of this user that the controller remembers, ended ones too. Raises NodeUnreachable."""
        text = self._run("squeue", "--noheader", "--states=all", f"--user={os.getuid()}", "--format=%A|%T|%j")
        return [SlurmJob(*line.split("|", 2)) for line in text.splitlines()]

    def nodes(self) -> list[SlurmNode]:
        """A line for each node in each of its partitions. Raises NodeUnreachable."""
        chosen = [f"--partition={self._options.partition}"] if self._options.partition else []
        text = self._run("sinfo", "--noheader", "--Node", f"--format={_NODE_FORMAT}", *chosen)
        nodes = []
        for line in text.splitlines():
            name, partition, starred, cpus, memory, state, address, gres, features, reason = line.split("|", 9)
            is_default = starred.endswith("*")
            size = int(memory.rstrip("+"))
            nodes.append(
                SlurmNode(name, partition, is_default, int(cpus), size, state, address, gres, features, reason)
            )
        return nodes

    def submit(self, request: Submission) -> str:
        """The id of the job. Raises SlurmRefused; NodeUnreachable if it may have been taken, or could not be asked."""
        chosen = [
            f"--{name}={value}"
            for name in ("partition", "account", "qos")
            if (value := getattr(self._options, name))
            and not any(each.startswith(f"--{name}=") for each in request.arguments)
        ]
        command = ("sbatch", "--parsable", "--no-requeue", *chosen, *request.arguments, *self._options.extra)
        return self._run(*command, text=request.script, refusable=True).strip().partition(";")[0]

    # -- the same for batches: one result, or what went wrong, for each item

    def jobs_for(self, askers: Sequence[object]) -> list[list[SlurmJob] | Exception]:
        """All jobs, for each of those who ask: one squeue."""
        jobs = self.jobs()
        return [jobs for _ in askers]

    def submit_each(self, requests: Sequence[Submission]) -> list[str | Exception]:
        """See `submit`. After a silence the others need not wait for the same one."""
        results: list[str | Exception] = []
        away: NodeUnreachable | None = None
        for request in requests:
            try:
                if away is not None:
                    raise away
                results.append(self.submit(request))
            except NodeUnreachable as error:
                away = error
                results.append(error)
            except ExecutorError as error:
                results.append(error)
        return results

    # -- ending

    def cancel(self, jobs: Iterable[str]) -> None:
        """End the jobs. Those that have ended meanwhile are no error. Raises NodeUnreachable."""
        self._run("scancel", *jobs, fine=_ENDED)

    def warn(self, jobs: Iterable[str]) -> None:
        """SIGTERM to the batch shells alone: the guards. Raises NodeUnreachable."""
        self._run("scancel", "--signal=TERM", "--batch", *jobs, fine=_ENDED)

    def check(self) -> None:
        """Raises ExecutorError if there are no such tools here."""
        for tool in ("sbatch", "squeue", "scancel", "sinfo"):
            if shutil.which(self._path(tool), path=self._environment["PATH"]) is None:
                raise ExecutorError(_missing(self._path(tool)))

    def _path(self, tool: str) -> str:
        return str(Path(self._options.commands, tool)) if self._options.commands else tool

    def _run(
        self, tool: str, *arguments: str, text: str = "", refusable: bool = False, fine: re.Pattern[str] | None = None
    ) -> str:
        try:
            done = subprocess.run(
                [self._path(tool), *arguments],
                input=text,
                capture_output=True,
                text=True,
                errors="replace",
                env=self._environment,
                timeout=self._options.command_s,
                check=False,
            )
        except FileNotFoundError as error:
            raise ExecutorError(_missing(self._path(tool))) from error
        except subprocess.TimeoutExpired as error:
            raise NodeUnreachable(f"{tool} did not answer within {self._options.command_s:.0f} s") from error
        if done.returncode == 0:
            return done.stdout
        said = " ".join(done.stderr.split()) or f"exit status {done.returncode}"
        if fine is not None and fine.search(said):
            return done.stdout
        if refusable and not _UNANSWERED.search(said):
            raise SlurmRefused(said)
        raise NodeUnreachable(f"{tool}: {said}")


def _missing(path: str) -> str:
    return f"{path}: not found; install Slurm's client commands here, or say in `commands` where they are"
