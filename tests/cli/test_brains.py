"""Brains by name."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agentorch.cli.brains import llm_named, parse_brain
from agentorch.cli.doctor import brain_finding
from agentorch.config import Settings, load
from agentorch.config.brains import OPENAI_URL
from agentorch.core.policy import BRAIN_ID
from agentorch.errors import ConfigError
from agentorch.model.brain import BrainContext
from agentorch.model.observation import Observation
from agentorch.model.proposals import Draft, Mode


def settings(tmp_path: Path, text: str = "", **environ: str) -> Settings:
    file = tmp_path / "agentorch.toml"
    file.write_text(text)
    return load(environ=environ, config_file=file)


async def nothing(drafts: tuple[Draft, ...]) -> Any:
    raise AssertionError("not asked")


LOCAL = """
[supervisor]
brain = "openai"
[supervisor.llm]
model = "qwen"
base_url = "http://127.0.0.1:8080/v1/"
api_key_env = "LOCAL_KEY"
temperature = 0.2
price_in_usd = 0.5
price_out_usd = "1.50"
max_usd_per_hour = 2
"""


def test_a_model_is_configured(tmp_path: Path) -> None:
    found = settings(tmp_path, LOCAL, LOCAL_KEY="sk-local", OPENAI_API_KEY="sk-other")
    llm = found.supervisor.llm
    assert (found.supervisor.brain, llm.model, llm.base_url) == ("openai", "qwen", "http://127.0.0.1:8080/v1")
    assert (llm.api_key, llm.temperature, llm.max_usd_micros_per_hour) == ("sk-local", 0.2, 2_000_000)
    assert (llm.price_in_usd_micros, llm.price_out_usd_micros) == (500_000, 1_500_000)
    assert not any("sk-" in str(one.value) for one in found.shown), "`config show` shows no key"
    assert "sk-local" not in repr(found)


def test_variables_reach_it_too(tmp_path: Path) -> None:
    found = settings(tmp_path, AGENTORCH_SUPERVISOR_LLM_MODEL="m", AGENTORCH_SUPERVISOR_BRAIN="openai")
    assert (found.supervisor.brain, found.supervisor.llm.model) == ("openai", "m")


def test_openais_key_goes_to_openai_only(tmp_path: Path) -> None:
    assert settings(tmp_path, OPENAI_API_KEY="sk-1").supervisor.llm.api_key == "sk-1"
    elsewhere = '[supervisor.llm]\nbase_url = "http://127.0.0.1:1/v1"\n'
    assert settings(tmp_path, elsewhere, OPENAI_API_KEY="sk-1").supervisor.llm.api_key == ""


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[supervisor]\nbrain = "gpt"\n', "supervisor.brain.*rules, openai"),
        ('[supervisor.llm]\nbase_url = "ftp://x"\n', "supervisor.llm.base_url.*http"),
        ('[supervisor.llm]\nbase_url = "http://me:secret@x/v1"\n', "a user, a query or a fragment"),
        ('[supervisor.llm]\nbase_url = "http:///v1"\n', "not an http"),
        ("[supervisor.llm]\ntemperature = 3\n", "within 0 and 2"),
        ("[supervisor.llm]\ntemperature = true\n", "within 0 and 2"),
        ("[supervisor.llm]\nmax_rounds = 0\n", "max_rounds"),
        ("[supervisor.llm]\nmax_usd_per_hour = 1\n", "price_in_usd and price_out_usd"),
        ('[supervisor.llm]\nmodle = "x"\n', "did you mean 'model'"),
        ('[supervisor.llm]\napi_key = "sk-1"\n', "unknown key"),
        ('[supervisor]\nllm = "x"\n', "expected a table"),
    ],
)
def test_mistakes_are_refused(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        settings(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "model", "url"),
    [
        ("openai", "qwen", "http://127.0.0.1:8080/v1"),
        ("openai:other", "other", "http://127.0.0.1:8080/v1"),
        ("openai:a/b@http://127.0.0.1:9/v1", "a/b", "http://127.0.0.1:9/v1"),
        ("openai:@cf/x@https://x.example/v1/", "@cf/x", "https://x.example/v1"),
        (f"openai:@{OPENAI_URL}", "qwen", OPENAI_URL),
    ],
)
def test_a_name_outranks_what_is_configured(tmp_path: Path, text: str, model: str, url: str) -> None:
    configured = settings(tmp_path, LOCAL, LOCAL_KEY="sk-local").supervisor.llm
    found = llm_named(text, configured)
    assert (found.model, found.base_url) == (model, url)
    assert found.api_key == ("sk-local" if url == configured.base_url else ""), "a key goes nowhere else"


def test_brains_are_made(tmp_path: Path) -> None:
    found = settings(tmp_path, LOCAL)
    assert parse_brain("rules", found).id == BRAIN_ID
    mine = tmp_path / "mine.py"
    mine.write_text("def decide(observation):\n    return None\n")
    assert parse_brain(str(mine), found).id == "mine"
    pytest.importorskip("langchain_openai", reason="not installed: pip install 'agentorch[llm]'")
    assert parse_brain("openai", found).id == "openai:qwen"


def test_the_examples_of_the_documentation_work(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "brains.md").read_text()
    toml, python = (re.findall(rf"```{kind}\n(.*?)```", text, re.DOTALL)[0] for kind in ("toml", "python"))
    assert settings(tmp_path, toml).supervisor.llm.model
    mine = tmp_path / "mine.py"
    mine.write_text(python)
    brain = parse_brain(str(mine), settings(tmp_path))
    context = BrainContext(preview=nothing, foresee=nothing, timeout_s=1.0)
    report = asyncio.run(brain.decide(Observation(cycle=1, seq=1, at_ms=0, mode=Mode.guarded), context))
    assert report.hold == "nobody waits long"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("gpt", "expected rules, openai"),
        ("openai", "which model"),
        ("openai:m@http://", "not an http"),
        ("nowhere.py", "no such file"),
    ],
)
def test_what_is_no_brain_is_refused(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        parse_brain(text, settings(tmp_path))


def test_unknown_tools_are_refused(tmp_path: Path) -> None:
    text = '[supervisor.llm]\nmodel = "m"\ntools = ["propose_scale", "approve"]\n'
    with pytest.raises(ConfigError, match="there is no approve"):
        parse_brain("openai", settings(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "verdict", "says"),
    [
        ("", "ok", "the rules"),
        (LOCAL, "ok", "qwen at http://127.0.0.1:8080/v1, no key, capped"),
        ('[supervisor]\nbrain = "openai"\n', "FAILED", "supervisor.llm.model"),
        ('[supervisor]\nbrain = "openai"\n[supervisor.llm]\nmodel = "m"\n', "FAILED", "OPENAI_API_KEY"),
    ],
)
def test_the_doctor_looks_at_the_brain(tmp_path: Path, text: str, verdict: str, says: str) -> None:
    pytest.importorskip("langchain_openai", reason="not installed: pip install 'agentorch[llm]'")
    found = brain_finding(settings(tmp_path, text).supervisor)
    assert found.verdict == verdict
    assert says in found.text


WITHOUT = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("langchain_openai", "openai", "httpx2"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
from pathlib import Path
import agentorch.graphs, agentorch.graphs.llm.cassette
from agentorch.cli.brains import parse_brain
from agentorch.config import load
from agentorch.errors import ConfigError
settings = load(environ={}, cwd=Path("/"))
print(parse_brain("rules", settings).id)
try:
    parse_brain("openai:m", settings)
except ConfigError as error:
    print(error)
"""


def test_without_the_extra_the_rules_decide_and_a_model_says_what_it_needs() -> None:
    done: Any = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first == BRAIN_ID
    assert "pip install 'agentorch[llm]'" in second
