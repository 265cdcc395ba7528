"""What may be stopped so that other work can run, and what that loses (G8)."""

from __future__ import annotations

from agentorch.core.facts import Facts
from agentorch.model.jobs import Job, JobSpec, JobState, Tier


def lost_work_ms(job: Job, now_ms: int) -> int:
    """Run time since its last checkpoint, of this attempt."""
    attempt = job.attempt
    if attempt is None or attempt.started_ms is None:
        return 0
    return max(0, now_ms - max(attempt.started_ms, job.checkpoint_ms or 0))


def may_ever_stop(spec: JobSpec) -> bool:
    """Realtime work, and work that is not preemptible, is never stopped for other work."""
    return spec.preemptible and spec.tier is not Tier.realtime


def may_stop(facts: Facts, job: Job, now_ms: int) -> bool:
    """Whether it runs, and has run for long enough."""
    if job.state is not JobState.running:
        return False
    started_ms = job.attempts[-1].started_ms
    if started_ms is None or now_ms - started_ms < facts.settings.preempt_min_run_ms:
        return False
    return may_ever_stop(job.spec)
