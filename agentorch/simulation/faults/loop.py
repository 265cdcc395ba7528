"""An event loop in which nobody waits: when nothing is ready, time jumps to the next timer.

Everything runs in one thread, in the order in which it was made ready, so that equal programs run equally. Whatever
would bring in the world outside (threads, sockets, processes, signals) raises.
"""

from __future__ import annotations

import asyncio
import threading
from asyncio import base_events
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, Final, NoReturn, TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

#: Rounds in which time stands still, after which something must be spinning.
ROUNDS_AT_ONCE_MAX: Final = 200_000

#: What `asyncio` offers that leaves the simulation.
_OUTSIDE: Final = (
    "run_in_executor",
    "add_reader",
    "remove_reader",
    "add_writer",
    "remove_writer",
    "add_signal_handler",
    "create_connection",
    "create_datagram_endpoint",
    "create_server",
    "create_unix_connection",
    "create_unix_server",
    "connect_read_pipe",
    "connect_write_pipe",
    "getaddrinfo",
    "sendfile",
    "sock_accept",
    "sock_connect",
    "sock_recv",
    "sock_sendall",
    "start_tls",
    "subprocess_exec",
    "subprocess_shell",
)


class Outside(RuntimeError):
    """Code under simulation wanted a thread, a socket, a process or a signal."""


class Standstill(RuntimeError):
    """Nothing is ready, nothing is planned: whoever still waits waits for ever. Or time does not go on."""


def _refusing(name: str) -> Callable[..., NoReturn]:
    def refuse(self: VirtualLoop, *args: object, **kwargs: object) -> NoReturn:
        raise Outside(f"{name} leaves the simulation: what is simulated uses neither threads nor sockets")

    return refuse


class VirtualLoop(base_events.BaseEventLoop):
    """`time()` is seconds since it was made; `rounds` counts how often something ran."""

    def __init__(self) -> None:
        super().__init__()
        self._now_s = 0.0
        self._still = 0
        self._clock_resolution = 1e-9  # the base class reads it to tell which timers are due
        self._selector = self
        self._home = threading.get_ident()
        self.rounds = 0

    def time(self) -> float:
        return self._now_s

    def select(self, timeout: float | None) -> tuple[()]:
        """What the base class calls between two rounds, with the time to the next timer."""
        self.rounds += 1
        if timeout is None:
            raise Standstill("nothing is ready and no timer is set")
        self._still = 0 if timeout > 0 else self._still + 1
        if self._still > ROUNDS_AT_ONCE_MAX:
            raise Standstill(f"{ROUNDS_AT_ONCE_MAX} rounds and not a moment passed: something spins")
        self._now_s += max(0.0, timeout)
        return ()

    def call_soon_threadsafe(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        if threading.get_ident() != self._home:
            raise Outside("a thread called into the simulation")
        return self.call_soon(callback, *args, context=context)

    def _process_events(self, event_list: object) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nothing sleeps that would have to be woken."""


for _name in _OUTSIDE:
    setattr(VirtualLoop, _name, _refusing(_name))


async def pass_time(seconds: float) -> None:
    """Let so much virtual time pass. Raises Outside where time is real, so that nobody ever waits for it."""
    if not isinstance(asyncio.get_running_loop(), VirtualLoop):
        raise Outside("this time is real")
    await asyncio.sleep(seconds)


def run_virtually(main: Coroutine[Any, Any, T]) -> tuple[T, VirtualLoop]:
    """Run to the end of `main`; its result, and the loop, which tells how much time passed.

    Raises what `main` raises, Outside, Standstill.
    """
    loop = VirtualLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(main), loop
