"""`python -m tests.simulated SEED | A..B [--jobs N]`: one seed with its story, or many with a summary."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

from tests.simulated.seeds import TROUBLE_S, Told, run_seed
from tests.simulated.world import Breach


def _try(seed: int, trouble_s: float) -> Told | str:
    try:
        return run_seed(seed, trouble_s=trouble_s)
    except Breach as breach:
        return str(breach)


def one(seed: int, trouble_s: float) -> int:
    try:
        told = run_seed(seed, trouble_s=trouble_s, say=print)
    except Breach as breach:
        print(breach)
        return 1
    print(told)
    return 0


def many(first: int, last: int, trouble_s: float, processes: int) -> int:
    started_s = time.perf_counter()
    breaches: list[str] = []
    totals: Counter[str] = Counter()
    crashes: Counter[str] = Counter()
    seeds = range(first, last + 1)
    with ProcessPoolExecutor(processes) as pool:
        for seed, told in zip(seeds, pool.map(_try, seeds, [trouble_s] * len(seeds), chunksize=4), strict=True):
            if isinstance(told, str):
                breaches.append(told)
                print(told, flush=True)
            else:
                totals.update(events=told.events, jobs=told.jobs, virtual_s=round(told.virtual_s))
                crashes.update(told.crashes)
            if (seed + 1 - first) % 100 == 0:
                print(f"{seed + 1 - first} of {len(seeds)} seeds, {len(breaches)} breaches", flush=True)
    took_s = time.perf_counter() - started_s
    print(
        f"{len(seeds)} seeds, {len(breaches)} breaches, {totals['jobs']} jobs, {totals['events']} events, "
        f"{sum(crashes.values())} crashes in {took_s:.0f} s: {len(seeds) / took_s:.2f} seeds/s, "
        f"{totals['virtual_s'] / 3600 / took_s:.2f} virtual hours/s"
    )
    for where, count in sorted(crashes.items()):
        print(f"  {count:6} {where}")
    return 1 if breaches else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulated", description=__doc__)
    parser.add_argument("seeds", help="a seed, or FIRST..LAST")
    parser.add_argument("--trouble", type=float, default=TROUBLE_S, help="virtual seconds of faults")
    parser.add_argument("--processes", type=int, default=None)
    given = parser.parse_args()
    first, dots, last = given.seeds.partition("..")
    if not dots:
        return one(int(first), given.trouble)
    return many(int(first), int(last), given.trouble, given.processes or 2)


if __name__ == "__main__":
    sys.exit(main())
