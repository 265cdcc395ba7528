"""The sampler: asks every probe now and then, stamps and keeps what it says.

Each probe has a thread of its own, because a GPU driver that hangs must not stop the others. A probe that raises or
hangs changes nothing: its newest samples stay, with the time they were taken, and grow old.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

import msgspec

from agentorch.model import limits
from agentorch.model.observation import DeviceSample
from agentorch.telemetry.probe import DeviceProbe

_PATIENCE_S = 5.0


class Sampler:
    """`clock` tells milliseconds since the epoch. All methods may be called from any thread."""

    def __init__(self, probes: Sequence[DeviceProbe], clock: Callable[[], int]) -> None:
        self._sources = [_Source(probe) for probe in probes]
        self._clock = clock
        self._latest: dict[str, DeviceSample] = {}
        self._own: set[str] = set()
        self._history: dict[str, deque[DeviceSample]] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    async def start(self, every_s: float) -> None:
        """Sample at once and then every `every_s` seconds, until `close`."""
        for source in self._sources:
            # Daemons: a driver that hangs must not keep this process from ending.
            thread = threading.Thread(target=self._keep_sampling, args=(source, every_s), daemon=True, name="telemetry")
            self._threads.append(thread)
            thread.start()

    async def close(self) -> None:
        """Stop sampling; a probe that hangs is left behind after a few seconds."""
        self._stop.set()
        threads, self._threads = self._threads, []
        await asyncio.to_thread(_join, threads)

    def sample_once(self) -> tuple[DeviceSample, ...]:
        """Ask every probe now; what has not answered after a few seconds is not waited for. Returns `latest()`."""
        threads = [
            threading.Thread(target=self._sample, args=(source, _PATIENCE_S), daemon=True) for source in self._sources
        ]
        for thread in threads:
            thread.start()
        _join(threads)
        return self.latest()

    def absorb(self, samples: Sequence[DeviceSample]) -> None:
        """Keep what other nodes measured, with the times they carry; a sample no newer than the known one is nothing.

        Every node has a `cpu`: that of another node becomes `<node>:cpu`. A GPU that this machine samples by itself is
        not taken from a node that shares it: their probes count errors from different times on.
        """
        with self._lock:
            for sample in samples:
                if sample.kind == "cpu":
                    sample = msgspec.structs.replace(sample, id=f"{sample.node}:cpu")
                known = self._latest.get(sample.id)
                if sample.id in self._own:
                    continue
                if known is None or sample.at_ms > known.at_ms:
                    self._remember(sample)
            self._forget(self._clock())

    def latest(self) -> tuple[DeviceSample, ...]:
        """The newest sample of each device; `at_ms` says how old it is."""
        with self._lock:
            return tuple(self._latest.values())

    def history(self, device: str) -> list[DeviceSample]:
        """Samples of the device, oldest first; none for a device never seen."""
        with self._lock:
            return list(self._history.get(device, ()))

    def energy_mj(self, devices: Sequence[str]) -> int | None:
        """What these GPUs have drawn together since their drivers were loaded, by now, in millijoules.

        None when it is unknown for any of them: slices have no counter. Reckoned from the newest samples, with what
        has been drawn since at the power they showed, so that nobody waits for a driver.
        """
        now_ms = self._clock()
        total = 0.0
        with self._lock:
            for device in devices:
                sample = self._latest.get(device)
                if sample is None or sample.energy_mj is None or sample.power_watts is None:
                    return None
                age_ms = max(0, now_ms - sample.at_ms)
                if age_ms > limits.STALE_LOCAL_MS:
                    return None
                total += sample.energy_mj + sample.power_watts * age_ms
        return round(total) if devices else None

    def problems(self) -> list[str]:
        """What went wrong with each probe the last time, if anything did."""
        return [source.problem for source in self._sources if source.problem]

    def _keep_sampling(self, source: _Source, every_s: float) -> None:
        while True:
            self._sample(source)
            if self._stop.wait(every_s):
                return

    def _sample(self, source: _Source, patience_s: float = 0.0) -> None:
        # A probe that hangs holds its lock; whoever comes next goes away instead of hanging too.
        if not source.lock.acquire(timeout=patience_s):
            return
        try:
            at_ms = self._clock()  # before, not after: a slow answer is as old as its question
            try:
                samples = source.probe.sample()
            except Exception as error:  # noqa: BLE001 - whatever a driver raises, its samples only grow old
                source.problem = f"{type(source.probe).__name__}: {type(error).__name__}: {error}"
                return
            source.problem = ""
            self._keep(samples, at_ms)
        finally:
            source.lock.release()

    def _keep(self, samples: Sequence[DeviceSample], at_ms: int) -> None:
        with self._lock:
            for sample in samples:
                self._own.add(sample.id)
                self._remember(msgspec.structs.replace(sample, at_ms=at_ms))
            self._forget(at_ms)

    def _remember(self, sample: DeviceSample) -> None:
        self._latest[sample.id] = sample
        self._history.setdefault(sample.id, deque(maxlen=limits.TELEMETRY_POINTS)).append(sample)

    def _forget(self, now_ms: int) -> None:
        """Slices and nodes come and go under new names; what nobody has seen for long is dropped."""
        gone = [name for name, kept in self._latest.items() if now_ms - kept.at_ms > limits.TELEMETRY_FORGOTTEN_MS]
        for name in gone:
            del self._latest[name], self._history[name]
            self._own.discard(name)


class _Source:
    def __init__(self, probe: DeviceProbe) -> None:
        self.probe = probe
        self.lock = threading.Lock()
        self.problem = ""


def _join(threads: Sequence[threading.Thread]) -> None:
    give_up_s = time.monotonic() + _PATIENCE_S
    for thread in threads:
        thread.join(max(0.0, give_up_s - time.monotonic()))
