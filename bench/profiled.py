"""Runs a daemon of AgentOS under a sampler: `python -m bench.profiled FILE coordinator|worker`.

SIGUSR1 starts the sampling, SIGUSR2 ends it and writes FILE. A sample is taken after each few milliseconds of the
process's CPU time; it weighs as much CPU as the main thread has used since the last one, so that waiting weighs
nothing. What the process's other threads (those of the Pulsar client) use is told beside it.
"""

from __future__ import annotations

import signal
import sys
import time
from collections import defaultdict
from pathlib import Path
from types import FrameType

import msgspec

SAMPLE_SECONDS = 0.002
OWN = ("core", "bus", "store", "coordinator", "workernode", "bench", "agentos")


class Profile(msgspec.Struct):
    """CPU seconds: of the main thread, by the package that ran and by our own function that it ran for; of others."""

    main_seconds: float
    other_seconds: float
    by_package: dict[str, float]
    by_function: dict[str, float]


class Sampler:
    """Writes a `Profile`."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._by_package: defaultdict[str, float] = defaultdict(float)
        self._by_function: defaultdict[str, float] = defaultdict(float)
        self._last = self._began_thread = self._began_process = 0.0

    def install(self) -> None:
        """Waits for the signals."""
        signal.signal(signal.SIGUSR1, self._start)
        signal.signal(signal.SIGUSR2, self._stop)
        signal.signal(signal.SIGPROF, self._sample)
        signal.siginterrupt(signal.SIGPROF, False)

    def _start(self, *_: object) -> None:
        self._by_package.clear()
        self._by_function.clear()
        self._last = self._began_thread = time.thread_time()
        self._began_process = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, SAMPLE_SECONDS, SAMPLE_SECONDS)

    def _stop(self, *_: object) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)
        main = time.thread_time() - self._began_thread
        other = time.process_time() - self._began_process - main
        profile = Profile(main, other, dict(self._by_package), dict(self._by_function))
        new = self._file.with_suffix(".new")
        new.write_bytes(msgspec.json.encode(profile))
        new.replace(self._file)

    def _sample(self, _number: int, frame: FrameType | None) -> None:
        now = time.thread_time()
        weight, self._last = now - self._last, now
        self._by_package[_package(frame)] += weight
        self._by_function[_own_function(frame)] += weight


def _package(frame: FrameType | None) -> str:
    name = frame.f_globals.get("__name__", "") if frame else ""
    package = str(name).split(".")[0]
    # The loop is written in C: while it runs itself, the frame is that of whoever started it.
    return "event loop" if frame is None or frame.f_code.co_filename.endswith("asyncio/runners.py") else package


def _own_function(frame: FrameType | None) -> str:
    inner = frame
    while inner is not None:
        module = str(inner.f_globals.get("__name__", ""))
        if module.split(".")[0] in OWN and inner.f_globals.get("__file__") != __file__:
            return f"{module}:{inner.f_code.co_qualname}"
        inner = inner.f_back
    return "none of ours"


def sample_into(file: str | None) -> None:
    """Samples this process into `file`, if one is given, when the signals come."""
    if file:
        Sampler(Path(file)).install()


def main() -> None:
    """The command."""
    file, *arguments = sys.argv[1:]
    sample_into(file)
    sys.argv = ["agentos", *arguments]
    from agentos.cli import main as run

    run()


if __name__ == "__main__":
    main()
