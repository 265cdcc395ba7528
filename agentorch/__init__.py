"""agentorch: an agent-driven, self-orchestrating runtime for AI compute.

Rooms, from the ground up: `errors`, `model` (nouns), `core` (pure rules), `schemas` and `config`, then `ledger`,
`executors` and `telemetry`, then `runtime` (one loop, one writer, one clock), then `client` and `tools`, then `api`,
`graphs` and `tui`, and on top `cli`, which composes everything. Every import goes downstairs.
"""

__version__ = "0.1.0"
