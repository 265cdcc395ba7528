"""The guard: what a batch job is. It runs on the node, forks the attempt's shim, and sees that nothing outlives it.

Imports only the standard library (`python -I -S`), as the shim does. Three things end an attempt early:

- SIGTERM from Slurm (a stop, a time limit, preemption): passed on to the shim, which knows what to do.
- A stop request in the directory: looked for now and then, so that a stop is heeded while the controller is away.
- The directory can't be seen for `fence_s`: then the runtime can't see the attempt either, and will give it up that
  long after it asked for its end. So the whole tree is killed before: this is what keeps an attempt from running
  beside its successor when a node is cut off.

A shim that is killed leaves its tree to the guard; a guard that is killed leaves it to the shim, whose death signal
is SIGTERM. What is left when both are killed at once is Slurm's to end (`proctrack/cgroup` does).
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import threading
import time
import traceback
from typing import Final, NoReturn

from agentorch.executors import processes
from agentorch.executors.attempt_dir import AttemptDirectory
from agentorch.executors.records import STARTED, STOP, VERDICT, StartRecord, VerdictRecord
from agentorch.executors.shim import catch_signals, run_attempt, wakeup_pipe

#: Beside the attempt directories: an empty file for each attempt that has ended, until the runtime has seen it.
ENDED: Final = ".ended"
#: Signals that ask for an end without saying why: Slurm's time limit, preemption, or somebody's scancel.
UNASKED: Final = "interruption"

_WAIT_MS: Final = 1_000
_LOOK_S: Final = 5.0
_LOOKS_PER_FENCE: Final = 4
_AGAIN_S: Final = 0.02
_DEVICE_VARIABLES: Final = ("CUDA_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL", "ROCR_VISIBLE_DEVICES", "ZE_AFFINITY_MASK")


def main(path: str, fence_s: float) -> NoReturn:
    """Run the attempt in this directory, unless it is claimed already; exit as it did (128 + signal)."""
    catch_signals()
    processes.become_subreaper()
    status = 1
    try:
        status = _Guard(path, fence_s).run()
    except BaseException:  # noqa: BLE001 - the log of the batch job is all there is to tell it to
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)  # a look that hangs in the file system must not keep the job


def slurm_environment() -> dict[str, str]:
    """What Slurm tells the job: its own variables, and the devices that it gave."""
    told = {name: value for name, value in os.environ.items() if name.startswith(("SLURM_", "SLURMD_"))}
    told |= {name: os.environ[name] for name in _DEVICE_VARIABLES if name in os.environ}
    if "CUDA_VISIBLE_DEVICES" in told:
        told["NVIDIA_VISIBLE_DEVICES"] = told["CUDA_VISIBLE_DEVICES"]
    return told


def _now_s() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)  # goes on while the machine sleeps


class _Guard:
    def __init__(self, path: str, fence_s: float) -> None:
        self._path = path
        self._fence_s = fence_s
        self._seen_s = _now_s()
        self._stop_asked = False
        self._wakeups = wakeup_pipe()
        # Forked before there is a second thread, and by the thread whose end its death signal is bound to.
        self._shim = _fork_shim(path)
        self._pidfd = os.pidfd_open(self._shim)
        self._killed = ""
        self._leftovers: set[int] = set()

    def run(self) -> int:
        threading.Thread(target=self._look_out, daemon=True).start()
        self._wait()
        self._end_leftovers()
        with AttemptDirectory(self._path) as directory:
            verdict: VerdictRecord | None = directory.read(VERDICT)
            if verdict is None:
                verdict = self._bury(directory)
                _tell(self._path)
        if verdict is None:
            return 0  # it was claimed, or fenced, before this job came
        if verdict["signal"] is not None:
            return 128 + verdict["signal"]
        return 1 if verdict["exit_code"] is None else verdict["exit_code"]

    def _wait(self) -> None:
        """Until the shim is done, or has to be."""
        poll = select.poll()
        for fd in (self._wakeups, self._pidfd):
            poll.register(fd, select.POLLIN)
        passed_on = False
        while True:
            ready = [fd for fd, _event in poll.poll(_WAIT_MS)]
            if self._wakeups in ready and int(signal.SIGTERM) in os.read(self._wakeups, 4096):
                signal.pidfd_send_signal(self._pidfd, signal.SIGTERM)
            if self._pidfd in ready:
                return
            if self._stop_asked and not passed_on:
                passed_on = True
                signal.pidfd_send_signal(self._pidfd, signal.SIGTERM)
            if _now_s() - self._seen_s > self._fence_s:
                self._killed = f"its directory could not be seen for {self._fence_s:.0f} s"
                return

    def _look_out(self) -> None:
        """See whether the directory is there and a stop lies in it. It may hang: that is what it is there to notice."""
        pause = threading.Event()
        while True:
            try:
                # Opened anew each time: on NFS that is what asks the server.
                with AttemptDirectory(self._path) as directory:
                    stopped = directory.read(STOP) is not None
            except OSError as error:
                print(f"can't see {self._path}: {error}", file=sys.stderr, flush=True)  # noqa: T201 - the job's log
            else:
                self._seen_s = _now_s()
                self._stop_asked = stopped
            pause.wait(min(_LOOK_S, self._fence_s / _LOOKS_PER_FENCE))

    def _end_leftovers(self) -> None:
        """Returns when the kernel says that this process has no child left."""
        me = os.getpid()
        while _reap():
            self._leftovers.update(processes.kill_descendants(me))
            time.sleep(_AGAIN_S)

    def _bury(self, directory: AttemptDirectory) -> VerdictRecord | None:
        """The verdict of a shim that was killed; None if it was not the shim of this job that had the claim."""
        claim = directory.claimed_by()
        if claim is None or claim.fence or claim.pid:
            return None
        started: StartRecord | None = directory.read(STARTED)
        verdict = VerdictRecord(
            lost=True,
            cause="node_lost" if self._killed else "lost",
            exit_code=None,
            signal=None,
            message=self._killed or "its shim was killed",
            started_ms=started["started_ms"] if started else None,
            ended_ms=time.time_ns() // 1_000_000,
            cpu_ms=0,
            memory_peak_bytes=0,
            leftovers=len(self._leftovers - {self._shim}),
        )
        directory.write(VERDICT, verdict, durable=True)
        return verdict


def _tell(path: str) -> None:
    """Have the runtime look at this attempt. It may be told twice, or for nothing."""
    folder, name = path.rsplit("/", 1)
    os.close(os.open(f"{folder}/{ENDED}/{name}", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))


def _reap() -> bool:
    """Take in what has ended; False when there is no child left."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def _fork_shim(path: str) -> int:
    guard = os.getpid()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if pid:
        theirs.close()
        ours.detach()  # open for as long as the guard lives: the shim may write to it, and nobody reads
        return pid
    status = 1
    try:
        ours.close()
        processes.die_with_parent(signal.SIGTERM)
        os.setsid()
        processes.become_subreaper()
        wakeups = wakeup_pipe()
        if os.getppid() == guard:
            run_attempt(path, wakeups, theirs, environment=slurm_environment(), unasked=UNASKED)
            _tell(path)  # here and not in the guard, which may be dead
            status = 0
    except BaseException:  # noqa: BLE001 - a fork must not unwind into the guard's code
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(status)
