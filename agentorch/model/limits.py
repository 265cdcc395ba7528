"""Every limit by name. A queue, buffer, page, retry or token count without a line here is a defect.

Relations between limits are asserted at import, so that changing one can't silently break another.
"""

from __future__ import annotations

from typing import Final

SECOND_MS: Final = 1_000
MINUTE_MS: Final = 60 * SECOND_MS
HOUR_MS: Final = 60 * MINUTE_MS
DAY_MS: Final = 24 * HOUR_MS

# -- jobs
NAME_MAX_CHARS: Final = 200
COMMAND_MAX_BYTES: Final = 100_000  # argv of one job; the kernel's own limit is 128 KiB a string
ENV_MAX_BYTES: Final = 100_000
LABELS_MAX: Final = 64
RETRY_ATTEMPTS_MAX: Final = 20
RETRY_BACKOFF_CAP_MS: Final = 10 * MINUTE_MS
ATTEMPTS_KEPT: Final = 32  # attempts shown in a job document; the ledger has them all
GANG_MAX: Final = 256  # ranks of one gang
GANG_PORT_FIRST: Final = 29_600  # where gangs meet: past torchrun's own 29500, below the ephemeral ports of Linux
GANG_PORTS: Final = 2_000
ENTRY_ARGS_MAX_BYTES: Final = 64 * 1024  # of args and kwargs as JSON
ENTRY_RESULT_MAX_BYTES: Final = 64 * 1024  # of what an entry point returns, as JSON
STARTS_MISSED_MAX: Final = 20  # starts in a row that never happened, which cost no retry, before a job is failed
POISON_WORKERS: Final = 3  # G12: workers taken down by one job before it is failed
STOP_GRACE_MS: Final = 10 * SECOND_MS  # TERM to KILL when nothing else is said
STOP_GRACE_CAP_MS: Final = 10 * MINUTE_MS
DRAIN_GRACE_MS: Final = 10 * MINUTE_MS  # what runs on a worker that is to go may end by itself for so long
NOTICE_MARGIN_MS: Final = 2 * SECOND_MS  # work is stopped its grace and this much before its node is taken away
DEFAULT_RESERVATION_MS: Final = HOUR_MS  # money is reserved for this long when a job says no duration
RESERVATION_LEAST_MS: Final = 2 * MINUTE_MS  # beside its grace, however short it is expected to run
PREEMPT_MIN_RUN_MS: Final = MINUTE_MS  # G8: minimum run time before work may be preempted

# -- queue
LIVE_JOBS_MAX: Final = 2_000_000  # queued + running; one more submit is refused with 429
LIVE_JOBS_PER_TENANT: Final = 1_000_000
FINISHED_JOBS_KEPT: Final = 100_000  # finished jobs kept in state; older ones are in the ledger only
BATCH_JOBS_MAX: Final = 1_000  # jobs in one POST /v1/jobs:batch
DISPATCH_PER_PASS: Final = 128  # more in one pass would starve acknowledgements: 256 doubled their p99 on a long queue
BACKFILL_DEPTH: Final = 256  # shapes of one tenant and tier that do not fit which one pass looks past
BACKFILL_TOTAL: Final = 1_024  # of all together, in equal parts: no tenant's odd shapes keep others from being seen
BACKFILL_LEAST: Final = 16  # however many tenants there are
IDEMPOTENCY_KEPT_MS: Final = DAY_MS
IDEMPOTENCY_KEYS_MAX: Final = 1_000_000
IDEMPOTENCY_KEY_MAX_CHARS: Final = 255
UNDURABLE_EVENTS_MAX: Final = 65_536  # events in memory that no commit covers yet; full means 429
RESERVED_LANE_EVENTS: Final = 16_384  # headroom above it for finishes and operators' commands

# -- fair share
FAIR_SHARE_HALF_LIFE_MS: Final = HOUR_MS
PRIORITY_AGE_MS: Final = MINUTE_MS  # one point of priority is worth this much waiting
RESERVE_AFTER_MS: Final = 30 * SECOND_MS  # a head that waited this long gets a worker reserved
QUANTUM_MS: Final = 10 * MINUTE_MS  # what work has run up to here counts for nothing in its order
DEBT_FACTOR: Final = 8  # what work has run beyond it counts as so much waiting less
DISPLACE_FACTOR: Final = 2  # work is stopped for work with at most this part of its debt
UNDISTURBED_SHARE: Final = 8  # after a stop, work runs this part of what it ran before it is stopped again
UNDISTURBED_MOST_MS: Final = HOUR_MS  # but at most so long
DISPLACE_PER_PASS: Final = 16  # jobs for which one pass looks for work that could give way
DISPLACE_LOOKS: Final = 256  # jobs of a pool, those that owe most, that are looked at for one that waits: bounds a pass

# -- forecast
FORECAST_RUNS: Final = 64  # newest run times remembered of each kind of work
FORECAST_KINDS: Final = 4_096  # kinds of work remembered; those seen least lately are forgotten
FORECAST_LEARNED_PER_SECOND: Final = 64  # ends of one second that are remembered
FORECAST_STEPS: Final = 10_000  # of one look ahead, each about a microsecond
FORECAST_HORIZON_MS: Final = 30 * DAY_MS  # what ends later frees no room in a look ahead
PLAN_STARTS_FORETOLD: Final = 4  # offers of a plan that say when the job would start there
ARRIVALS_HALF_LIFE_MS: Final = HOUR_MS
ARRIVALS_EVERY_MS: Final = 10 * SECOND_MS  # how often arrivals are summed up
ARRIVALS_LOOKED_AT: Final = 256  # newest jobs that stand for all that came since
ARRIVAL_KINDS: Final = 1_000  # the most frequent kinds are kept

# -- twin
POOL_WAITS_KEPT: Final = 512  # newest queue waits that a pool remembers
CALIBRATION_LEAST: Final = 20  # scored numbers before a brain's predictions are called bad
CALIBRATION_KEPT: Final = 200  # scored numbers that count; of more, all count half
CALIBRATIONS_KEPT: Final = 200  # brains and kinds of action
CALIBRATION_INSIDE_PERCENT: Final = 50  # of numbers that should be inside 80 % of the time; with fewer it is asked
SCORE_LATE_PERCENT: Final = 5  # of the horizon: an outcome looked at later tells nothing
SCORE_WAITED_PERCENT: Final = 25  # of the horizon: an action begun later than that is not what was foreseen
TWIN_HORIZON_MS: Final = HOUR_MS  # how far ahead it looks, if its budget lasts so far
TWIN_HORIZON_LEAST_MS: Final = MINUTE_MS
TWIN_DRAWS: Final = 9  # of nine, the least and the greatest are the ends of 80 %
TWIN_STEPS: Final = 2_500  # simulated events of one course, all draws together
TWIN_QUESTION_STEPS: Final = 20_000  # of all courses of one question: with many candidates each is looked at less far
TWIN_POOLS_MAX: Final = 16  # pools that a course tells apart, those with the longest waits
TWIN_JOBS_MAX: Final = 2_000  # waiting jobs that a fork takes along
TWIN_ARRIVALS_MAX: Final = 4_096  # newest jobs that stand for those to come

# -- supervisor
PROPOSALS_PER_CYCLE: Final = 16
PENDING_APPROVALS_MAX: Final = 20
PROPOSALS_KEPT: Final = 2_000  # in state; the ledger has them all
DECISIONS_KEPT: Final = 500
HISTORY_POINTS: Final = 360  # observations kept for plots and for the highest need seen
REASON_MAX_CHARS: Final = 2_000
EVIDENCE_MAX: Final = 12
BRAIN_FAILURES_BEFORE_FALLBACK: Final = 3
BRAIN_PROBE_EVERY_CYCLES: Final = 10  # while the fallback decides, every tenth cycle asks the failed brain again
BRAIN_PREVIEWS_PER_CYCLE: Final = 256  # calls of the preview in one cycle, and drafts in one call
BRAIN_FORESIGHTS_PER_CYCLE: Final = 8  # questions to the twin in one cycle
TWIN_CANDIDATES_MAX: Final = 16  # drafts in one question
BRAIN_EXCHANGES_MAX: Final = 32  # exchanges with a model in one report
BRAIN_EXCHANGE_MAX_CHARS: Final = 1_000_000  # of one request or response
BRAIN_TEXT_MAX_CHARS: Final = 200_000  # all words of one report together; more is nonsense, not prose
DRAFT_VALUES_MAX: Final = 500  # numbers, texts, lists and objects in one draft's action
DRAFT_DEPTH_MAX: Final = 8
CYCLE_STEPS_MAX: Final = 8  # graph steps of one cycle or one approval; the library's own default is 10,007
CARRY_OUT_TIMEOUT_MS: Final = 10 * SECOND_MS
RECONCILE_EVERY_CYCLES: Final = 6  # how often pending threads are compared with the ledger
APPROVAL_TTL_MS: Final = 15 * MINUTE_MS
APPROVAL_TTL_MIN_MS: Final = MINUTE_MS
APPROVAL_TTL_MAX_MS: Final = DAY_MS
ALLOWED_TTL_MS: Final = MINUTE_MS  # an allowed proposal that nobody carried out lapses
APPROVED_TTL_MS: Final = 5 * MINUTE_MS  # and so does an approved one
ACTING_TTL_MS: Final = 30 * MINUTE_MS  # an action that has not reached its goal by then has failed
OBSERVATIONS_KEPT: Final = 20  # decisions whose whole observation and exchanges stay in state
OBSERVED_JOBS_MAX: Final = 50  # queued and running jobs shown to a brain, each
OBSERVED_WORKERS_MAX: Final = 200
OBSERVED_TENANTS_MAX: Final = 100
OBSERVED_DEVICES_MAX: Final = 256
OBSERVED_WAITING_SAMPLE: Final = 500  # queued jobs, longest waiting first, that waits are measured on
OBSERVED_CALIBRATIONS_MAX: Final = 50
REROUTE_JOBS_MAX: Final = 50
ALERTS_KEPT: Final = 100
DRAFT_MAX_BYTES: Final = 16 * 1024  # of one draft's action as JSON; more is no action
START_DELAY_MAX_MS: Final = DAY_MS  # furthest ahead that a reschedule may put a start
NEED_BUCKETS: Final = 60  # the highest need is remembered per bucket of this share of the shrink window
NEED_GAP_BUCKETS: Final = 24  # so long without an observation and the need of the window is unknown

# -- guardrails (G1-G17); configuration can only tighten them
SCALE_UP_STEP: Final = 2
SCALE_UP_SHARE_PERCENT: Final = 50
SCALE_DOWN_STEP: Final = 1
SCALE_DOWN_SHARE_PERCENT: Final = 10
SHRINK_WINDOW_MS: Final = 300 * SECOND_MS
SHRINK_AFTER_GROWTH_MS: Final = 10 * MINUTE_MS
DEAD_BAND_PERCENT: Final = 10
STALE_LOCAL_MS: Final = 15 * SECOND_MS
STALE_REMOTE_MS: Final = 30 * SECOND_MS
COOLDOWN_MS: Final = MINUTE_MS
ACTIONS_PER_CYCLE: Final = 5
ACTIONS_PER_HOUR: Final = 60
BLAST_RADIUS_PERCENT: Final = 10
BLAST_WINDOW_MS: Final = MINUTE_MS
UNHEALTHY_HALT_PERCENT: Final = 45
UNHEALTHY_HALT_WORKERS: Final = 3
POOL_FAILED_STARTS_PAUSE: Final = 5
DEVICE_TEMPERATURE_LIMIT_C: Final = 90
POWER_SETTLE_MS: Final = 30 * SECOND_MS  # a start counts at full power until samples had this long to show it
SUSPECT_CLEAR_MS: Final = MINUTE_MS  # what was suspect takes work again after being well for this long
SUSPECT_MAX_MS: Final = 15 * MINUTE_MS  # a device that stays suspect for longer is cordoned
BREAKER_CORDONS: Final = 3  # cordons by health within the window after which only a person brings it back
BREAKER_WINDOW_MS: Final = DAY_MS
FAILURES_APART_MS: Final = 5 * SECOND_MS  # failures on a worker that are nearer to each other are one incident
WORKER_FAILURES_CORDON: Final = 3  # attempts in a row that ended on a worker by no fault of the jobs
PRESSURE_MEMORY_PERCENT: Final = 40  # PSI `full avg10`: the share of time in which everything waited for memory
PRESSURE_IO_PERCENT: Final = 90
ASK_ABOVE_USD_MICROS_PER_HOUR: Final = 10_000_000  # growth that adds more than this an hour is asked

# -- nodes
PROVISION_TIMEOUT_MS: Final = 5 * MINUTE_MS  # from asking for nodes to the first that comes
PROVISION_BACKOFF_MS: Final = 10 * SECOND_MS  # after the first failure; doubles with each further one
PROVISION_BACKOFF_CAP_MS: Final = 10 * MINUTE_MS
PROVISIONINGS_KEPT: Final = 9  # times that nodes took to come, of each type
NODES_POLL_MS: Final = 2 * SECOND_MS  # how often executors are asked for their nodes
NODES_AWAITED_POLL_MS: Final = SECOND_MS // 2  # while nodes are to come or to go
NODE_UNLISTED_MS: Final = 10 * SECOND_MS  # not listed for so long: gone. After a restart some answer late
OBSERVED_NODES_MAX: Final = 200

# -- API
PAGE_DEFAULT: Final = 100
PAGE_MAX: Final = 1_000
BODY_MAX_BYTES: Final = 8 * 1024 * 1024
SSE_CLIENTS_MAX: Final = 256
SSE_HEARTBEAT_MS: Final = 5 * SECOND_MS
SSE_CHUNK_MS: Final = 50
SSE_BACKLOG_EVENTS: Final = 20_000
LOG_CHUNK_BYTES: Final = 64 * 1024
LOG_QUOTA_BYTES: Final = 64 * 1024 * 1024  # per stream and attempt
LOG_PAGE_BYTES: Final = 8 * 1024 * 1024
EXECUTOR_EVENTS_KEPT: Final = 10_000  # told ends of attempts that an executor keeps for a follower that resumes
ATTEMPT_DIRECTORIES_KEPT: Final = 20_000  # of ended attempts, with their logs, on each machine; newest first
ATTEMPT_DIRECTORIES_KEPT_MS: Final = 7 * DAY_MS  # and none for longer
ATTEMPT_DIRECTORY_LEAST_MS: Final = 10 * MINUTE_MS  # but each this long: its end must be heard and written down
BRANCHES_KEPT: Final = 8  # replays of parts of a recording that its server keeps; each may be megabytes
BRANCHES_AT_ONCE: Final = 2
ARCHIVED_ATTEMPTS_KEPT: Final = 10_000  # attempts whose logs outlive their node; the oldest go first
TELEMETRY_DEVICES: Final = 65_536  # devices whose counters are kept; of more, those without a worker are forgotten
XIDS_KEPT: Final = 16  # newest error codes of a device that a sample carries
WARM_WORKERS_MAX: Final = 256  # warm Python workers of one machine; further calls wait for one
WARM_CALLS_PER_WORKER: Final = 10_000  # then it is replaced, and its directory is closed
WARM_CALLS_KEPT: Final = 100_000  # ended calls whose ends and logs a machine keeps, newest first
WARM_IDLE_MS: Final = MINUTE_MS  # a warm worker without a call is let go after that
TELEMETRY_POINTS: Final = 600  # samples kept for each device
TELEMETRY_FORGOTTEN_MS: Final = HOUR_MS  # a device that nobody has seen for this long is dropped

# -- nodes elsewhere
LEASE_MS: Final = MINUTE_MS  # a node's work goes on for so long without the runtime: longer than a restart takes
LEASE_MAX_MS: Final = 10 * MINUTE_MS
LEASE_MARGIN_MS: Final = 2 * SECOND_MS  # for clocks that drift, for the second between looks at a lease, for killing
LEASE_SPARE_MS: Final = 500  # nothing is launched under a lease that is over so soon
LAUNCH_LATE_MS: Final = MINUTE_MS  # a launch that was under way for longer is refused
LONG_POLL_MS: Final = 20 * SECOND_MS
NODE_PAGE: Final = 256  # attempts in one question to a node, and in its answer
NODE_FRAME_MAX_BYTES: Final = 32 * 1024 * 1024
NODE_CALLS_AT_ONCE: Final = 4  # launches and stops under way to one node

# -- ledger
SNAPSHOT_EVERY_EVENTS: Final = 50_000
COMMIT_EVENTS_MAX: Final = 8_192  # events in one segment

assert UNDURABLE_EVENTS_MAX > RESERVED_LANE_EVENTS, "submits must be refused before finishes are"
assert STARTS_MISSED_MAX <= ATTEMPTS_KEPT, "they are counted on the attempts that are kept"
assert DISPATCH_PER_PASS < COMMIT_EVENTS_MAX <= UNDURABLE_EVENTS_MAX
assert PENDING_APPROVALS_MAX >= PROPOSALS_PER_CYCLE > ACTIONS_PER_CYCLE
assert APPROVAL_TTL_MIN_MS <= APPROVAL_TTL_MS <= APPROVAL_TTL_MAX_MS
assert ALLOWED_TTL_MS <= APPROVAL_TTL_MIN_MS
assert SHRINK_WINDOW_MS < SHRINK_AFTER_GROWTH_MS
assert NEED_GAP_BUCKETS < NEED_BUCKETS
assert OBSERVATIONS_KEPT <= DECISIONS_KEPT
assert PROVISION_BACKOFF_MS < PROVISION_BACKOFF_CAP_MS
assert NODES_AWAITED_POLL_MS < NODES_POLL_MS < NODE_UNLISTED_MS < STALE_REMOTE_MS
assert PAGE_DEFAULT <= PAGE_MAX
assert WARM_CALLS_PER_WORKER < WARM_CALLS_KEPT, "what is kept goes worker by worker"
assert ATTEMPT_DIRECTORY_LEAST_MS < ATTEMPT_DIRECTORIES_KEPT_MS
assert ATTEMPT_DIRECTORIES_KEPT > EXECUTOR_EVENTS_KEPT
assert STALE_LOCAL_MS < STALE_REMOTE_MS
assert LEASE_SPARE_MS < LEASE_MARGIN_MS < LEASE_MS <= LEASE_MAX_MS
assert LAUNCH_LATE_MS < ATTEMPT_DIRECTORY_LEAST_MS, "a late launch must find the directory, or it would run again"
assert DISPATCH_PER_PASS * (COMMAND_MAX_BYTES + ENV_MAX_BYTES) < NODE_FRAME_MAX_BYTES, "a launch fits into a frame"
assert NODE_PAGE * ENTRY_RESULT_MAX_BYTES < NODE_FRAME_MAX_BYTES > LOG_PAGE_BYTES, "so does an answer"
