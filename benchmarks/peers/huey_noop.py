"""Huey on SQLite, synced at each commit: no-op tasks a second, from the first enqueue to the last end."""

import json
import logging
import sys
import threading
import time

from huey import SqliteHuey  # type: ignore[import-not-found]

folder, count = sys.argv[1], int(sys.argv[2])
logging.disable(logging.CRITICAL)
huey = SqliteHuey(filename=f"{folder}/huey.db", fsync=True, results=False)
left = count
done = threading.Event()


@huey.task()  # type: ignore[untyped-decorator]
def noop() -> None:
    global left
    left -= 1
    if left == 0:
        done.set()


consumer = huey.create_consumer(workers=1, periodic=False, initial_delay=0.001, max_delay=0.001, backoff=1.0)
began = time.perf_counter()
consumer.start()
for _ in range(count):
    noop()
done.wait(50)
took = time.perf_counter() - began
consumer.stop(graceful=False)
print(json.dumps({"per_s": (count - left) / took}), flush=True)
sys.stdout.flush()
