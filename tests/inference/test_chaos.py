"""A model of noise on a real llama.cpp server supervises a real runtime. `make chaos` does the same for longer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

pytest.importorskip("xllamacpp", reason="not installed: pip install 'agentorch[inference]'")
pytest.importorskip("gguf", reason="not installed: pip install 'agentorch[inference]'")
pytest.importorskip("langchain_openai", reason="not installed: pip install 'agentorch[llm]'")

from agentorch.graphs.llm.brain import llm_brain
from tests.graphs.port import MemoryPort
from tests.inference.chaos import noise, rampage
from tests.inference.llama_server import llama_server
from tests.inference.tiny_model import write_model
from tests.llm.asking import context

PROPOSALS = 200


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("noise")
    write_model(folder / "noise.gguf", 1)
    with llama_server(folder / "noise.gguf", folder / "server.log") as found:
        yield found


def test_a_model_is_the_same_for_a_seed(tmp_path: Path) -> None:
    for name, seed in (("one", 1), ("again", 1), ("other", 2)):
        write_model(tmp_path / name, seed)
    one, again, other = ((tmp_path / name).read_bytes() for name in ("one", "again", "other"))
    assert one == again != other
    assert len(one) < 1_000_000


def test_a_real_server_answers_with_calls_of_real_names(url: str) -> None:
    async def scenario() -> None:
        port = MemoryPort()
        named = []
        for seed in range(8):
            seen = await port.observe()
            report = await llm_brain(noise(url, "noise", seed, 1)).decide(seen, context(port, 60.0))
            assert report.exchanges[0].tokens_out > 0
            named += [draft.action.get("pool") for draft in report.drafts if draft.action["kind"] == "scale"]
        assert named
        assert set(named) == {"gpu"}, "no name that there is not"

    asyncio.run(scenario())


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_noise_breaches_nothing(url: str) -> None:
    done = asyncio.run(rampage(url, PROPOSALS, seed=1))
    assert done.found == []
    assert done.proposals >= PROPOSALS
    assert done.rulings().keys() >= {"allow", "deny"}, "it must get far enough to be judged"
    assert done.carried_out(), "and some of it must have been done"


def test_the_server_ends_with_whoever_started_it(tmp_path: Path) -> None:
    write_model(tmp_path / "noise.gguf", 3)
    with llama_server(tmp_path / "noise.gguf", tmp_path / "server.log") as address:
        assert httpx.get(f"{address}/models", timeout=30).status_code == 200
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{address}/models", timeout=30)


def test_a_model_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "no.gguf").write_bytes(b"no model")
    with pytest.raises(RuntimeError, match="did not start"), llama_server(tmp_path / "no.gguf", tmp_path / "log"):
        pass
