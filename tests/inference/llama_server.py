"""A real llama.cpp server on loopback in a process of its own: `python -m tests.inference.llama_server MODEL`.

It prints its URL once it listens, and ends when its standard input does: with whoever started it.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
SLOTS = 1


@contextmanager
def llama_server(model: Path, log: Path) -> Iterator[str]:
    """The URL of a running server. Raises RuntimeError with what it said when it does not come up."""
    command = [sys.executable, "-m", "tests.inference.llama_server", str(model)]
    with (
        log.open("wb") as sink,
        subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=sink, text=True
        ) as process,
    ):
        assert process.stdout is not None
        assert process.stdin is not None
        # The engine writes to the same stream before and after.
        url = next((line.split()[1] for line in process.stdout if line.startswith("listening ")), "")
        try:
            if not url:
                raise RuntimeError(f"llama.cpp did not start: {log.read_text()[-2000:]}")
            yield url
        finally:
            process.kill()


def serve(model: str) -> None:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = model
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.n_ctx = 16_384
    params.n_parallel = SLOTS
    params.n_threads_http = 2
    params.cpuparams.n_threads = 1
    params.cpuparams_batch.n_threads = 1
    params.use_jinja = True
    params.warmup = False
    params.offline = True
    server = xllamacpp.Server(params)
    print(f"listening {server.listening_address}/v1", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    serve(sys.argv[1])
