"""Which seeds the suite lives through, and how a breach is shown."""

from __future__ import annotations

from tests.simulated.seeds import Told, run_seed

#: Seeds of one test: some seconds.
PER_TEST = 10


def live_through(first: int) -> list[Told]:
    """Ten seeds, or the Breach of the first that broke a promise."""
    return [run_seed(seed) for seed in range(first, first + PER_TEST)]
