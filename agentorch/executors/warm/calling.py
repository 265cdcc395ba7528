"""One call in a worker: its environment, the function, and what is left to be told when it is over.

Imports only the standard library: the worker's packages are the job's.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import select
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from agentorch.executors import processes
from agentorch.executors.warm.deadline import Deadline

RESULT_MAX_BYTES: Final = 64 * 1024
_MESSAGE_MAX_CHARS: Final = 500
_KILL_AGAIN_S: Final = 0.02
_libc = ctypes.CDLL(None)


class Outcome(NamedTuple):
    """`exit_code` is what a program that did the same would have left; None when the function could not be called."""

    cause: str
    exit_code: int | None
    message: str
    result: str  # JSON


class Caller:
    """Calls functions in this process, one at a time, each as if the process were its own."""

    def __init__(self, stop_signal: int) -> None:
        self._home = os.getcwd()  # noqa: PTH109 - pathlib is slow to import
        self._base = dict(os.environ)
        self._functions: dict[str, Callable[..., object]] = {}
        self._loaded: dict[str, int | None] = {}  # source file below home -> its time when it was imported
        self._streams = (sys.stdout, sys.stderr)
        self._pid = os.getpid()
        self._deadline = Deadline(stop_signal)
        self._stop_signal = stop_signal
        self._threads = 0
        processes.become_subreaper()  # what a function leaves behind must be ours to find

    def is_stale(self) -> bool:
        """A module of the working directory has changed since it was imported: only a new process has the new one."""
        return any(_modified_ns(path) != then for path, then in self._loaded.items())

    def call(
        self,
        call: str,
        args: list[Any],
        kwargs: dict[str, Any],
        environment: Mapping[str, str],
        timeout_ms: int | None,
        grace_ms: int,
    ) -> Outcome:
        """Call `module:function`. Returns when it returned, raised or could not be found."""
        self._prepare(environment)
        if timeout_ms is not None:
            self._deadline.set(timeout_ms, grace_ms)
        try:
            function = self._functions.get(call) or self._find(call)
            if isinstance(function, Outcome):
                return function
            return self._outcome(function, args, kwargs)
        finally:
            if os.getpid() != self._pid:
                os._exit(1)  # a child that the function forked came back from it: this is not its loop
            if timeout_ms is not None:
                self._deadline.clear()
            self._flush()

    def _outcome(self, function: Callable[..., object], args: list[Any], kwargs: dict[str, Any]) -> Outcome:
        try:
            value = function(*args, **kwargs)
        except SystemExit as left:
            return self._left(left.code)
        except BaseException as error:  # noqa: BLE001 - whatever a job raises is its own end, not the worker's
            self._print_traceback(error)
            return Outcome("error", 1, _said(error), "")
        try:
            result = json.dumps(value, allow_nan=False, separators=(",", ":"))
        except (TypeError, ValueError, RecursionError) as error:
            return Outcome("error", 1, f"what it returned is not JSON: {_said(error)}", "")
        if len(result) > RESULT_MAX_BYTES:
            return Outcome(
                "error", 1, f"what it returned is {len(result)} bytes of JSON, at most {RESULT_MAX_BYTES}", ""
            )
        return Outcome("completed", 0, "", result)

    def _left(self, code: object) -> Outcome:
        """As the interpreter ends for `sys.exit(code)`."""
        if code is None or (isinstance(code, int) and code & 0xFF == 0):
            return Outcome("completed", 0, "", "null")
        if isinstance(code, int):
            return Outcome("error", code & 0xFF, "", "")
        print(code, file=sys.stderr)  # noqa: T201 - the job's own log
        return Outcome("error", 1, str(code)[:_MESSAGE_MAX_CHARS], "")

    def _find(self, call: str) -> Callable[..., object] | Outcome:
        try:
            module, _, name = call.partition(":")
            found: Any = importlib.import_module(module)
            for part in name.split("."):
                found = getattr(found, part)
            if not callable(found):
                return Outcome("exec_failed", None, f"{call} is no function", "")
        except BaseException as error:  # noqa: BLE001 - a module may raise anything while it is imported
            self._print_traceback(error)
            return Outcome("exec_failed", None, f"can't find {call}: {_said(error)}", "")
        finally:
            self._threads = _threads()  # those that modules start belong to the worker
            self._remember_sources()
        self._functions[call] = found
        return found  # type: ignore[no-any-return]

    def _remember_sources(self) -> None:
        for module in list(sys.modules.values()):
            path = getattr(module, "__file__", None)
            if not isinstance(path, str) or path in self._loaded or "/site-packages/" in path:
                continue
            if path.startswith(f"{self._home}/"):
                self._loaded[path] = _modified_ns(path)

    # -- around the call

    def _prepare(self, environment: Mapping[str, str]) -> None:
        wanted = {**self._base, **environment}
        current = os.environ
        for name in [name for name in current if name not in wanted]:
            del current[name]
        for name, value in wanted.items():
            if current.get(name) != value:
                current[name] = value
        os.chdir(self._home)
        sys.stdout, sys.stderr = self._streams
        if signal.getsignal(self._stop_signal) is not signal.SIG_DFL and self._stop_signal != signal.SIGINT:
            signal.signal(self._stop_signal, signal.SIG_DFL)

    def _print_traceback(self, error: BaseException) -> None:
        """As the interpreter would, without this file's own frames."""
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
            trace = trace.tb_next
        traceback.print_exception(type(error), error, trace)

    def _flush(self) -> None:
        for stream in {sys.stdout, sys.stderr, *self._streams}:
            try:
                stream.flush()
            except (OSError, ValueError, AttributeError):
                continue  # the function closed it; the next line that needs it says so in the job's own words
        _libc.fflush(None)  # what C code printed belongs to this call too

    def end_leftovers(self) -> int:
        """Kill what the call started and left running; returns how many processes that were."""
        killed: set[int] = set()
        while _has_children():
            killed.update(processes.kill_descendants(self._pid))
            _reap()
            if _has_children():
                select.select([], [], [], _KILL_AGAIN_S)
        return len(killed)

    def has_new_threads(self) -> bool:
        """The call left threads behind, which nothing can end but the end of this process."""
        return _threads() > self._threads


def _threads() -> int:
    threading = sys.modules.get("threading")
    return threading.active_count() if threading is not None else 1


def _has_children() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


def _modified_ns(path: str) -> int | None:
    try:
        return os.stat(path).st_mtime_ns  # noqa: PTH116
    except OSError:
        return None


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:_MESSAGE_MAX_CHARS]
