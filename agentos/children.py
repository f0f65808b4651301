"""The processes that `agentos up` starts and keeps running."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from agentos.processes import Run, end, of_run
from core.errors import PartError
from core.run import Stop, wait_for_any

# A child that lives shorter has died at once. So many such deaths in a row before the stack is ready: hopeless.
AT_ONCE_SECONDS = 10.0
HOPELESS = 3
SHOWN_LINES = 12


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """What to start. `grace`: seconds from SIGTERM to SIGKILL."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    grace: float


def pause_before_restart(deaths: int) -> float:
    """Seconds before the next start, after so many deaths at once in a row."""
    return float(min(30.0, 0.5 * 2 ** (deaths - 1)))


def last_lines(log: Path, *, since: int = 0) -> str:
    """The end of a log file, indented; `since` is the byte where the interesting part begins."""
    try:
        text = log.read_bytes()[since:].decode(errors="replace")
    except OSError:
        return ""
    return "".join(f"\n  {line}" for line in text.splitlines()[-SHOWN_LINES:])


class Child:
    """One process in a session of its own, so that a terminal's signals do not reach it; its output in a log file."""

    def __init__(self, spec: ChildSpec, run: Run, logs: Path, say: Callable[[str], None]) -> None:
        self.name = spec.name
        self._spec = spec
        self._run = run
        self._say = say
        self._stopping = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self.log = logs / f"{spec.name}.log"

    async def keep(self, ready: asyncio.Event) -> None:
        """Runs it until `stop`, starting it again whenever it ends. `ready`: the whole stack has been ready once.

        Raises `PartError` with its last words if it keeps dying at once before that.
        """
        self._turn_log()
        deaths = 0
        while not self._stopping.is_set():
            begun, written = asyncio.get_running_loop().time(), self._logged()
            status = await self._live()
            if self._stopping.is_set():
                return
            lived = asyncio.get_running_loop().time() - begun
            deaths = deaths + 1 if lived < AT_ONCE_SECONDS else 1
            ended = f"{self.name} ended by {_cause(status)}"
            if deaths == HOPELESS and not ready.is_set():
                raise PartError(f"{ended}, {deaths} times at once; {self.log}:{last_lines(self.log, since=written)}")
            pause = pause_before_restart(deaths)
            self._say(f"{ended}; starting it again in {pause:g} s (log: {self.log})")
            await wait_for_any(self._stopping, seconds=pause)

    async def stop(self, keeping: asyncio.Task[None], stop: Stop) -> None:
        """SIGTERM, then SIGKILL after the child's grace or when `stop` hurries. `keeping` is the task of `keep`."""
        self._stopping.set()
        gone = asyncio.Event()
        keeping.add_done_callback(lambda _: gone.set())
        if self._running():
            self._say(f"stopping {self.name}")
            self._send(signal.SIGTERM)
        await wait_for_any(gone, stop.hurry, seconds=self._spec.grace)
        if self._running():
            self._say(f"{self.name} did not stop in time; killing it")
            self._send(signal.SIGKILL)
        await asyncio.wait([keeping])

    async def _live(self) -> int:
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._spec.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=dict(self._spec.environment),
            )
        if self._stopping.is_set():  # while it was being started
            self._send(signal.SIGTERM)
        status = await self._process.wait()
        await asyncio.to_thread(self._end_orphans, self._process.pid)
        return status

    def _running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    def _send(self, sign: signal.Signals) -> None:
        if self._process is not None and self._running():
            self._process.send_signal(sign)

    def _end_orphans(self, session: int) -> None:
        """Ends what the dead process had started, a model server for one."""
        end([each for each in of_run(self._run) if _session(each) == session], grace=1)

    def _turn_log(self) -> None:
        """One log a run, and the one before."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        if self.log.exists():
            self.log.replace(self.log.with_suffix(".log.1"))

    def _logged(self) -> int:
        return self.log.stat().st_size if self.log.exists() else 0


def _session(process: psutil.Process) -> int | None:
    try:
        return os.getsid(process.pid)
    except ProcessLookupError:
        return None


def _cause(status: int) -> str:
    return f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
