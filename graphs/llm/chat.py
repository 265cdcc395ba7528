"""The chat model of an OpenAI-compatible server, with nothing left to the library's defaults or to the environment.

Needs the extra `llm`; import it through `brain.llm_brain`, which says so.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any, Final

import httpx2
from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage
from langchain_core.runnables import Runnable
from langchain_openai import ChatOpenAI
from langchain_openai.chat_models.base import BaseChatOpenAI
from pydantic import SecretStr

from agentorch.config.brains import OPENAI_URL, LlmSettings
from agentorch.errors import BrainError

CONNECT_TIMEOUT_S: Final = 5.0
#: What an unset key is called: the library insists on one, and the transport sends none.
NO_KEY: Final = "none"
LIBRARIES: Final = ", ".join(f"{name} {version(name)}" for name in ("langchain-openai", "openai", "httpx2"))


def chat_model(
    settings: LlmSettings, tools: list[dict[str, Any]], transport: httpx2.AsyncBaseTransport, cycle: int
) -> tuple[Runnable[LanguageModelInput, AIMessage], httpx2.AsyncClient]:
    """The model with its tools, and the client that carries it, which the caller closes."""
    timeout = httpx2.Timeout(settings.timeout_s, connect=min(CONNECT_TIMEOUT_S, settings.timeout_s))
    client = httpx2.AsyncClient(transport=transport, timeout=timeout, trust_env=False, follow_redirects=False)
    # OpenAI has renamed `max_tokens`, and refuses the old name; many other servers do not know the new one.
    kind = ChatOpenAI if settings.base_url == OPENAI_URL else BaseChatOpenAI
    model = kind(
        model=settings.model,
        base_url=settings.base_url,
        api_key=SecretStr(NO_KEY),  # the transport adds the real one: the library never holds it
        temperature=settings.temperature,
        seed=None if settings.seed is None else settings.seed + cycle,
        timeout=timeout,
        max_retries=0,
        use_responses_api=False,
        disable_streaming=True,
        openai_proxy="",
        output_version="v0",
        cache=False,
        http_client=httpx2.Client(transport=NoSync(), trust_env=False),
        http_async_client=client,
    )
    return model.bind_tools(tools, tool_choice=settings.tool_choice), client


class NoSync(httpx2.BaseTransport):
    """The library wants a second client, for calls that would block the loop: none is ever made."""

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        raise BrainError("the brain never blocks")
