"""The servers that load is put on, each in a process of its own on loopback.

`python -m benchmarks.servers durable|bare PORT FOLDER`. `durable` is agentorch as it ships, with its one pool paused:
jobs are submitted and none runs. `bare` reads the body and answers: what the HTTP stack costs without any work.
"""

from __future__ import annotations

import sys
from pathlib import Path

KEY = "ao-benchmark"


def durable(port: int, folder: Path) -> None:
    from agentorch.cli.serve import serve

    sys.exit(serve(data=folder, port=port))


def bare(port: int) -> None:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    async def answer(request: Request) -> Response:
        await request.body()
        return Response(b'{"id":"job-000001","state":"queued"}', 201, media_type="application/json")

    app = Starlette(routes=[Route("/v1/jobs", answer, methods=["POST"])])
    uvicorn.run(app, port=port, log_level="warning", access_log=False)


if __name__ == "__main__":
    if sys.argv[1] == "bare":
        bare(int(sys.argv[2]))
    else:
        durable(int(sys.argv[2]), Path(sys.argv[3]))
