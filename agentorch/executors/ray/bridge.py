"""The process that speaks to a Ray cluster for the runtime: `python -m agentorch.executors.ray.bridge PLAN`.

Questions come in on stdin and answers go out on stdout, as frames; it ends when stdin does. It holds nothing that must
survive it: agents are found by their names, and what they run does not depend on it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
import ray
from ray import exceptions
from ray._private import services, state

from agentorch import __version__
from agentorch.executors.ray.actor import AGENT_PREFIX, agent_of
from agentorch.executors.ray.loopback import keep_loopback
from agentorch.executors.ray.options import LOOPBACK, TYPE_LABELS, TYPE_RESOURCE, knock
from agentorch.executors.ray.wire import (
    ASKS,
    HELLO,
    Call,
    Dismiss,
    Members,
    Plan,
    Release,
    Request,
    Told,
    type_of,
)
from agentorch.executors.remote import frames
from agentorch.executors.remote.frames import Question, Reply
from agentorch.executors.remote.transport import Member

_log = logging.getLogger(__name__)
_HEAD_S: Final = 6.0  # patience with the head; Ray itself would try for minutes
_RELEASE_S: Final = 20.0
_HEAD_RESOURCE: Final = "node:__internal_head__"
_IDLE_TERMINATION: Final = 1  # DRAIN_NODE_REASON_IDLE_TERMINATION of ray/core/generated/autoscaler_pb2
#: Errors by which Ray says that an answer will not come; the call may have been carried out.
_UNREACHABLE: Final = (exceptions.RayError, ConnectionError, OSError, RuntimeError)


class Bridge:
    """Answers questions; everything that may wait for the head of the cluster does so in a thread."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._agents: dict[str, asyncio.Task[Any]] = {}
        self._nodes: dict[str, dict[str, Any]] = {}  # as the head listed them last
        self._listing: asyncio.Task[list[Member]] | None = None
        self._notices: dict[str, int] = {}
        self._released: set[str] = set()
        self._methods: dict[str, Callable[[Any], Awaitable[bytes]]] = {
            "members": self._members,
            "call": self._call,
            "release": self._release,
            "request": self._request,
            "dismiss": self._dismiss,
        }

    async def answer(self, question: Question) -> Told:
        """What became of it; never raises."""
        kind = ASKS[question.method]
        try:
            ask = msgspec.msgpack.decode(question.body, type=kind) if kind is not None else None
            return Told(await self._methods[question.method](ask))
        except TimeoutError:
            return Told(error="unreachable", words="no answer in time")
        except NotDone as error:
            return Told(error="failed", words=str(error))
        except _UNREACHABLE as error:
            return Told(error="unreachable", words=first_line(error))

    # -- calls

    async def _call(self, ask: Call) -> bytes:
        async with asyncio.timeout(ask.timeout_s):
            agent = await self._agent(ask.node)
            try:
                answer: bytes = await agent.handle.remote(ask.method, ask.body)
            except exceptions.ActorDiedError:
                self._agents.pop(ask.node, None)  # for good: the next call makes another one
                raise
            return answer

    async def _agent(self, node: str) -> Any:
        if node in self._released:
            raise ConnectionError(f"node {node} has been released")
        task = self._agents.get(node)
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            task = self._agents[node] = asyncio.create_task(self._start_agent(node))
        return await asyncio.shield(task)  # a start goes on when one of those who wait for it gives up

    async def _start_agent(self, node: str) -> Any:
        if node not in self._nodes:
            await self._members(None)
        if node not in self._nodes:
            raise ConnectionError(f"Ray lists no node {node}")
        has = self._nodes[node]["Resources"]
        agent = await asyncio.to_thread(agent_of, node, self._plan, has.get("CPU", 0.0), has.get("GPU", 0.0))
        version, _pid = await agent.about.remote()
        if version != __version__:
            raise NotDone(
                f"node {node} has agentorch {version}, the runtime has {__version__}: install the same on both"
            )
        return agent

    # -- members

    async def _members(self, _ask: None) -> bytes:
        if self._listing is None or self._listing.done():
            self._listing = asyncio.create_task(asyncio.to_thread(self._list))
        async with asyncio.timeout(_HEAD_S):
            return msgspec.msgpack.encode(Members(await asyncio.shield(self._listing)))

    def _list(self) -> list[Member]:
        """Nodes that live and have a processor to offer: a head without one only keeps the cluster together."""
        nodes = {node["NodeID"]: node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")}
        leaving = state.state.get_draining_nodes()
        now_ms = int(time.time() * 1_000)
        self._notices = {node: at_ms or self._notices.get(node, now_ms) for node, at_ms in leaving.items()}
        self._nodes = nodes
        return [self._member(node, entry) for node, entry in nodes.items() if node not in self._released]

    def _member(self, node: str, entry: dict[str, Any]) -> Member:
        labels = tuple(sorted(entry["Labels"].items()))
        return Member(
            id=node,
            type=type_of(labels, TYPE_LABELS),
            address=entry["NodeManagerAddress"],
            labels=labels,
            notice_ms=self._notices.get(node),
        )

    # -- scaling

    async def _release(self, ask: Release) -> bytes:
        """End its agent, which holds the node, then have Ray drain it: an idle node that is drained ends itself."""
        if _HEAD_RESOURCE in self._nodes.get(ask.node, {"Resources": {}})["Resources"]:
            raise NotDone(f"node {ask.node} is the head: the cluster ends with it; use `agentorch ray down` for that")
        self._released.add(ask.node)
        task = self._agents.pop(ask.node, None)
        async with asyncio.timeout(_RELEASE_S):
            if task is None and ask.node in self._nodes:
                task = asyncio.create_task(self._start_agent(ask.node))  # by name: an earlier bridge may have made it
            if task is not None:
                await asyncio.to_thread(ray.kill, await task, no_restart=True)
            while not await asyncio.to_thread(self._drain, ask.node):  # noqa: ASYNC110 - only asking the head tells
                await asyncio.sleep(0.2)
        return b""

    def _drain(self, node: str) -> bool:
        """Whether the node is going: it is refused while the worker of the agent is still being ended."""
        if not any(entry["NodeID"] == node and entry["Alive"] for entry in ray.nodes()):
            return True
        client = ray._private.worker.global_worker.gcs_client
        accepted, why = client.drain_node(node, _IDLE_TERMINATION, "agentorch lets it go", 0)
        if not accepted:
            _log.info("node %s is not drained yet: %s", node, why)
        return bool(accepted)

    async def _dismiss(self, ask: Dismiss) -> bytes:
        async with asyncio.timeout(_RELEASE_S):
            await asyncio.to_thread(_end_agents, ask.namespace)
        self._agents.clear()
        return b""

    async def _request(self, ask: Request) -> bytes:
        from ray.autoscaler.sdk import request_resources

        bundles = [{f"{TYPE_RESOURCE}{kind}": 1} for kind, count in sorted(ask.wanted.items()) for _ in range(count)]
        async with asyncio.timeout(_HEAD_S):
            await asyncio.to_thread(request_resources, bundles=bundles)
        return b""


class NotDone(Exception):
    """It was not done, and asking again will not help."""


def _end_agents(namespace: str) -> None:
    for actor in ray.util.list_named_actors(all_namespaces=True):
        if actor["namespace"] == namespace and actor["name"].startswith(AGENT_PREFIX):
            ray.kill(ray.get_actor(actor["name"], namespace), no_restart=True)


def first_line(error: BaseException) -> str:
    """Ray's messages go on for pages."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else 'no words'}"[:500]


async def serve(plan: Plan, out: int) -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, os.fdopen(out, "wb"))
    writer = asyncio.StreamWriter(transport, protocol, None, loop)
    bridge = Bridge(plan)
    tasks: set[asyncio.Task[None]] = set()

    async def answer(question: Question) -> None:
        told = await bridge.answer(question)
        frames.write(writer, Reply(question.number, msgspec.msgpack.encode(told)))

    frames.write(writer, Reply(HELLO, msgspec.msgpack.encode(Told())))
    while True:
        try:
            question = await frames.read(reader, Question)
        except ConnectionError:
            return
        task = asyncio.create_task(answer(question))
        tasks.add(task)
        task.add_done_callback(tasks.discard)


def connect(plan: Plan) -> None:
    """Raises OSError, ValueError or an error of Ray's if the cluster can't be reached."""
    knock(plan.address)
    if plan.loopback:
        keep_loopback(services)
    ray._raylet.GcsClient(
        address=plan.address
    )  # a wrong token is said at once; `ray.init` would try for twenty seconds
    ray.init(
        address=plan.address,
        namespace=plan.namespace,
        log_to_driver=False,
        logging_level=logging.ERROR,
        _node_ip_address=LOOPBACK if plan.loopback else None,
    )


def main() -> None:
    out = os.dup(1)
    os.dup2(2, 1)  # what Ray prints must not get between frames
    plan = msgspec.json.decode(sys.argv[1], type=Plan)
    try:
        connect(plan)
    except Exception as error:  # noqa: BLE001 - whatever it is, whoever started this process is to be told
        words = f"{plan.address}: {first_line(error)}"
        frame = Reply(HELLO, msgspec.msgpack.encode(Told(error="failed", words=words)))
        os.write(out, frames.pack(frame))
        os._exit(1)
    asyncio.run(serve(plan, out))
    # Nothing here is worth an orderly end, and Ray's own may wait for a head that is away.
    os._exit(0)


if __name__ == "__main__":
    main()
