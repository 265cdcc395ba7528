"""A brain from a Python file."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, Final, cast

from agentorch.errors import ConfigError
from agentorch.model.brain import Brain, BrainContext
from agentorch.model.observation import Observation
from agentorch.model.proposals import BrainReport

RECORDED: Final = "recorded"


class FileBrain:
    """`decide` of a Python file. Fulfils `model.brain.Brain`."""

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self.id = name
        self._function = function
        self._takes_context = len(inspect.signature(function).parameters) > 1

    async def decide(self, observation: Observation, context: BrainContext) -> BrainReport:
        found = self._function(observation, context) if self._takes_context else self._function(observation)
        if inspect.isawaitable(found):
            found = await found
        return cast(BrainReport, found)


def brain_from(file: Path) -> Brain:
    """The file's `brain`, or one of its class `Brain`, or its function `decide`. Runs the file. Raises ConfigError.

    `decide(observation)` or `decide(observation, context)`, async or not, answers with a `BrainReport`; `id` is the
    file's name if there is none.
    """
    module = _loaded(file)
    found: Any = getattr(module, "brain", getattr(module, "Brain", module))
    if isinstance(found, type):
        try:
            found = found()
        except Exception as error:
            raise ConfigError(f"--brain {file}: {found.__name__}() raised {type(error).__name__}: {error}") from error
    decide = getattr(found, "decide", None)
    if not callable(decide):
        raise ConfigError(
            f"--brain {file}: expected a function `decide(observation, context)` in it, or a `brain` or class `Brain` "
            "with such a method"
        )
    name = getattr(found, "id", None)
    return FileBrain(name if isinstance(name, str) and name else file.stem, decide)


def _loaded(file: Path) -> ModuleType:
    if not file.is_file():
        raise ConfigError(f"--brain {file}: there is no such file")
    spec = spec_from_file_location(f"brain_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise ConfigError(f"--brain {file}: can't be loaded as Python")
    module = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ConfigError(f"--brain {file}: {type(error).__name__}: {error}") from error
    return module
