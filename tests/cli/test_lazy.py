"""Commands load only what they need: start-up is most of what a short command costs."""

from __future__ import annotations

import subprocess
import sys

from agentorch.cli import COMMANDS

HEAVY = ("langgraph", "langchain_core", "textual", "fastapi", "uvicorn", "pydantic_settings", "aiosqlite", "psutil")
#: What loads a server, a screen or a ledger of its own.
LOCAL = {"up", "serve", "tui", "demo", "replay", "verify", "doctor"}

#: What no command loads before it knows that a model is to be asked.
NEVER = ("langchain_openai", "openai", "xllamacpp", "gguf")

PROBE = """
import sys
from agentorch.cli import build
app = build()
heavy, names = sys.argv[1].split(","), sys.argv[2].split(",")
for name in names:
    app[name]
    loaded = [module for module in heavy if module in sys.modules]
    if loaded:
        sys.exit(f"{name} loads {loaded}")
print(len(names))
"""


def test_client_commands_load_no_server() -> None:
    names = [name for name, *_ in COMMANDS if name not in LOCAL]
    done = subprocess.run(
        [sys.executable, "-c", PROBE, ",".join(HEAVY), ",".join(names)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == len(names)


def test_no_command_loads_what_only_a_model_needs() -> None:
    names = [name for name, *_ in COMMANDS]
    done = subprocess.run(
        [sys.executable, "-c", PROBE, ",".join(NEVER), ",".join(names)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_terminal_ui_loads_no_graph_and_no_model() -> None:
    code = (
        "import sys, agentorch.tui.app; print([m for m in sys.modules if m.startswith(('lang', 'openai', 'httpx2'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() == "[]"


def test_help_imports_no_command_at_all() -> None:
    code = (
        "import sys; from agentorch.cli import main; main(['--help']); print([m for m in sys.modules if m == 'httpx'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip().endswith("[]")
    assert "agentorch" in done.stdout


def test_every_command_names_a_file_of_its_own_room() -> None:
    assert all(path.startswith("agentorch.cli.") for _, path, *_ in COMMANDS)
    assert len({name for name, *_ in COMMANDS}) == len(COMMANDS)
