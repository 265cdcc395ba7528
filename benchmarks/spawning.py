"""`python -m benchmarks.spawning COUNT SLOTS`: start and reap `true` that often, so many at a time; print how many a
second. Only the standard library, because a small process spawns faster."""

import os
import sys
import time


def spawn(count: int, slots: int) -> float:
    """Processes a second."""
    began = time.perf_counter()
    running = 0
    for _ in range(count):
        if running == slots:
            os.wait()
            running -= 1
        os.posix_spawnp("true", ["true"], {})
        running += 1
    for _ in range(running):
        os.wait()
    return count / (time.perf_counter() - began)


if __name__ == "__main__":
    print(spawn(int(sys.argv[1]), int(sys.argv[2])))
