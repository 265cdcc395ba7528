"""Brains by name, as the configuration and `--brain` have them: the rules, a model on a server, a Python file."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from agentorch.cli.other_brain import brain_from
from agentorch.config.brains import LlmSettings, base_url
from agentorch.config.settings import Settings, SupervisorSettings
from agentorch.errors import ConfigError
from agentorch.model.brain import Brain

EXPECTED: Final = "rules, openai (as configured), openai:MODEL, openai:MODEL@BASE_URL or a Python file such as mine.py"


def parse_brain(text: str, settings: Settings) -> Brain:
    """The brain that `text` names; what it does not say is as configured. Raises ConfigError.

    The configured key is sent to the configured server only, never to another one that `text` names.
    """
    if text == "rules":
        return rule_brain(settings.supervisor)
    if text == "openai" or text.startswith("openai:"):
        from agentorch.graphs.llm.brain import llm_brain

        return llm_brain(llm_named(text, settings.supervisor.llm))
    if text.endswith(".py"):
        from pathlib import Path

        return brain_from(Path(text))
    raise ConfigError(f"brain {text!r}: expected {EXPECTED}")


def rule_brain(settings: SupervisorSettings) -> Brain:
    """The rules, weighing as configured."""
    from agentorch.core.policy import RuleBrain, Weights

    return RuleBrain(Weights(waiting_usd_micros_per_hour=settings.waiting_usd_micros_per_hour))


def llm_named(text: str, configured: LlmSettings) -> LlmSettings:
    """`openai`, `openai:MODEL` or `openai:MODEL@BASE_URL` on top of what is configured. Raises ConfigError."""
    model, url = _split(text.partition(":")[2])
    found = replace(configured, model=model or configured.model)
    if url:
        try:
            found = replace(found, base_url=base_url(url))
        except ValueError as error:
            raise ConfigError(f"brain {text!r}: {url}: {error}") from error
    if found.base_url != configured.base_url:
        found = replace(found, api_key="")
    if not found.model:
        raise ConfigError("supervisor.llm.model: which model is to be asked? Set it, or name it: openai:MODEL")
    return found


def _split(text: str) -> tuple[str, str]:
    """Names of models may hold an @ too: only one before a URL parts the two."""
    for at, character in enumerate(text):
        if character == "@" and text[at + 1 :].startswith(("http://", "https://")):
            return text[:at], text[at + 1 :]
    return text, ""
