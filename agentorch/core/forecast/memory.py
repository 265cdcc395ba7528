"""What is remembered: run times by kind of work, and how many jobs of each kind came.

A kind is a size, narrowed to a tenant and then to a name; each run is remembered under all of its kinds, the finest
first. A run is one integer: twice its milliseconds, plus one when it was cut off and would have gone on. So the order
of integers is the order in which runs leave those that still run, those cut off last, as Kaplan and Meier count them.
"""

from __future__ import annotations

from functools import lru_cache

from agentorch.model.jobs import Job, JobSpec, Resources

#: The kind that everything is of.
EVERYTHING = ""


@lru_cache(maxsize=4096)
def size_of(need: Resources, gang: int) -> str:
    """How big, in classes that double: `up to 8 GPUs`, or `up to 4 cpus` without any."""
    count, unit = (need.gpus, "GPU") if need.gpus else (-(-need.cpu_milli // 1000), "cpu")
    most = 1 << max(0, count * gang - 1).bit_length()
    return f"1 {unit}" if most == 1 else f"up to {most} {unit}s"


def kinds(tenant: str, spec: JobSpec, need: Resources) -> tuple[str, ...]:
    """The kinds of work that such a job is of, the finest first. A function called is as good as a name."""
    name = spec.name or (spec.entry.call if spec.entry is not None else "")
    coarser = kinds_of_size(tenant, need, spec.gang)
    return (f"{coarser[0]}\0{name}", *coarser) if name else coarser


def kinds_of_size(tenant: str, need: Resources, gang: int) -> tuple[str, ...]:
    """As `kinds`, whatever its name is: the same for every job of a line of the queue."""
    size = size_of(need, gang)
    return f"{size}\0{tenant}", size, EVERYTHING


def describe(kind: str) -> str:
    """A kind in words: `train of ann, up to 8 GPUs`."""
    size, *rest = kind.split("\0")
    if not rest:
        return f"anything of {size}" if size else "anything"
    return f"{rest[1] if len(rest) > 1 else 'work'} of {rest[0]}, {size}"


def ran_ms(job: Job, now_ms: int) -> int:
    """How long the job has run: its newest attempt; every attempt of a job that goes on from its checkpoint."""
    whole = job.spec.checkpoint is not None
    before_ms = job.ran_before_ms if whole else 0
    newest = job.attempt
    if newest is None or newest.started_ms is None or (whole and newest.ended_ms is not None):
        return before_ms
    return before_ms + max(0, (newest.ended_ms or now_ms) - newest.started_ms)


def carried_ms(job: Job) -> int:
    """How much of what a waiting job will run it has run already: nothing, unless it goes on from its checkpoint."""
    return ran_ms(job, 0) if job.spec.checkpoint is not None else 0
