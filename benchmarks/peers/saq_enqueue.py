"""SAQ on a Redis that syncs every write: enqueues a second with 32 clients in one process, and how long each takes."""

import asyncio
import json
import sys
import time

from redis.asyncio import Redis  # type: ignore[import-not-found]
from saq.queue.redis import RedisQueue  # type: ignore[import-not-found]

socket, seconds, clients = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])


async def main() -> None:
    queue = RedisQueue(Redis.from_url(f"unix://{socket}"), name="bench")
    await queue.connect()
    until = time.perf_counter() + seconds
    took: list[float] = []

    async def client() -> None:
        while (began := time.perf_counter()) < until:
            await queue.enqueue("noop")
            took.append(time.perf_counter() - began)

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    elapsed = time.perf_counter() - began
    took.sort()
    await queue.disconnect()
    print(
        json.dumps({"per_s": len(took) / elapsed, "p50_s": took[len(took) // 2], "p99_s": took[len(took) * 99 // 100]})
    )


asyncio.run(main())
