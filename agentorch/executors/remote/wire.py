"""What is said to a node agent and what it answers, as msgpack. One struct for each question, one for each answer.

Every question carries the epoch of the runtime that asks. Times of a node are ages or values of its own clock, never
times of day: nobody's clocks need to agree. An agent that refuses says so inside the answer, so that a transport has
nothing to understand: it carries bytes.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TypeVar

import msgspec

from agentorch.errors import ExecutorError
from agentorch.model.attempts import AttemptSpec, AttemptStatus, NodeInfo
from agentorch.model.observation import DeviceSample

Body = TypeVar("Body")


class Why(StrEnum):
    """Why an agent refuses."""

    epoch_over = "epoch_over"  # a newer runtime has opened the node
    not_open = "not_open"  # this view of the node is over (the agent started anew): open it again
    no_lease = "no_lease"  # the lease is over, or about to be: renew it first
    late = "late"  # the question was under way for too long
    failed = "failed"  # it tried, and could not


class Open(msgspec.Struct, frozen=True, kw_only=True):
    """Take the node for an epoch. The same `control` again: the same view, so that asking twice changes nothing."""

    epoch: int
    control: str


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """`incarnation` names this view of the node: its events, and clock values that may be echoed.

    `deadline_ns` is that of leases given so far: from now on only this runtime extends it.
    """

    incarnation: str
    clock_ns: int
    deadline_ns: int


class Renew(msgspec.Struct, frozen=True, kw_only=True):
    """Work may run until `echo_ns + seconds` on the agent's clock, if that is later than before.

    `echo_ns` is a clock value that the agent gave in this incarnation: so a renewal that was under way for long
    extends nothing.
    """

    epoch: int
    incarnation: str
    echo_ns: int
    seconds: float


class AgedSample(msgspec.Struct, frozen=True, kw_only=True):
    age_ms: int
    sample: DeviceSample


class Renewed(msgspec.Struct, frozen=True, kw_only=True):
    clock_ns: int
    deadline_ns: int
    info: NodeInfo  # without samples
    samples: list[AgedSample] = []


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """`echo_ns` is the newest clock value known: a launch that was under way for too long is refused."""

    epoch: int
    incarnation: str
    echo_ns: int
    attempts: list[AttemptSpec]


class Statuses(msgspec.Struct, frozen=True, kw_only=True):
    """One for each attempt that was asked for, in that order."""

    statuses: list[AttemptStatus]


class StopOrder(msgspec.Struct, frozen=True, kw_only=True):
    attempt: str
    reason: str  # a `Cause`
    grace_ms: int


class Stop(msgspec.Struct, frozen=True, kw_only=True):
    epoch: int
    incarnation: str
    orders: list[StopOrder]


class Inspect(msgspec.Struct, frozen=True, kw_only=True):
    epoch: int
    incarnation: str
    attempts: list[str]


class Follow(msgspec.Struct, frozen=True, kw_only=True):
    """Ends after `cursor`, as soon as there is one, or none after `wait_s`. What is before it is forgotten."""

    epoch: int
    incarnation: str
    cursor: int
    wait_s: float


class Logs(msgspec.Struct, frozen=True, kw_only=True):
    epoch: int
    incarnation: str
    attempt: str
    stream: str
    offset: int
    limit: int


class LogPage(msgspec.Struct, frozen=True, kw_only=True):
    data: bytes
    following: int
    whole: bool


class List(msgspec.Struct, frozen=True, kw_only=True):
    epoch: int
    incarnation: str


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """Every attempt that has a directory on the node, whatever became of it."""

    attempts: list[str]


class Nothing(msgspec.Struct, frozen=True):
    """It is done, and there is nothing to say."""


class Answer(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What travels back: the answer's own bytes, or why there is none."""

    body: msgspec.Raw = msgspec.Raw(b"\xc0")
    why: Why | None = None
    words: str = ""


class AgentRefused(ExecutorError):
    """The agent answered, and the answer is no; `why` says what kind of no."""

    def __init__(self, why: Why, words: str) -> None:
        super().__init__(words)
        self.why = why


#: method -> (question, answer)
METHODS: dict[str, tuple[type[msgspec.Struct], type[msgspec.Struct]]] = {
    "open": (Open, Opened),
    "renew": (Renew, Renewed),
    "launch": (Launch, Statuses),
    "stop": (Stop, Nothing),
    "inspect": (Inspect, Statuses),
    "events": (Follow, Statuses),
    "logs": (Logs, LogPage),
    "list": (List, Listed),
}

_encoder = msgspec.msgpack.Encoder()
_decoders = {kind: msgspec.msgpack.Decoder(kind) for pair in METHODS.values() for kind in pair}
_answers = msgspec.msgpack.Decoder(Answer)


def encode(message: msgspec.Struct) -> bytes:
    return _encoder.encode(message)


def decode(kind: type[Body], body: bytes | msgspec.Raw) -> Body:
    """Raises ExecutorError on anything else than a message of this kind: the two sides are of different versions."""
    try:
        message: Body = _decoders[kind].decode(body)  # type: ignore[index,assignment]
    except msgspec.DecodeError as error:
        raise ExecutorError(
            f"{kind.__name__} can't be read ({error}): is the agent of the same version as the runtime?"
        ) from error
    return message


def answer(message: msgspec.Struct) -> bytes:
    return _encoder.encode(Answer(body=msgspec.Raw(_encoder.encode(message))))


def refusal(why: Why, words: str) -> bytes:
    return _encoder.encode(Answer(why=why, words=words))


def opened(kind: type[Body], data: bytes) -> Body:
    """The answer of this kind. Raises AgentRefused if it is a refusal, ExecutorError if it can't be read."""
    try:
        reply = _answers.decode(data)
    except msgspec.DecodeError as error:
        raise ExecutorError(f"an agent's answer can't be read ({error}): is it of the same version?") from error
    if reply.why is not None:
        raise AgentRefused(reply.why, reply.words)
    return decode(kind, reply.body)
