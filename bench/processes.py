"""Processes that a bench starts, talks to and ends."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import psutil

from core.errors import PartError

GRACE_SECONDS = 20.0
SHOWN_LINES = 12


class Process:
    """A Python process in a session of its own; its standard error is a log file.

    Some talk in lines of JSON: `tell` is a line to it, `hear` the next line from it.
    """

    def __init__(self, name: str, arguments: list[str], environment: Mapping[str, str], logs: Path) -> None:
        self.name = name
        self._log = logs / f"{name}.log"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=dict(environment),
                cwd=Path(__file__).parent.parent,
                start_new_session=True,
            )
        self._heard: queue.Queue[bytes | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, name=f"reads {name}", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def tell(self, message: object) -> None:
        """Raises `PartError` if it has ended."""
        if self._process.stdin is None:
            raise PartError(f"{self.name} takes no messages")
        try:
            self._process.stdin.write(msgspec.json.encode(message) + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise self._ended() from error

    def hear(self, seconds: float) -> dict[str, Any]:
        """Its next line. Raises `PartError` if it ends or says nothing for so long."""
        try:
            line = self._heard.get(timeout=seconds)
        except queue.Empty as error:
            raise PartError(f"{self.name} said nothing for {seconds:g} s{self._last_words()}") from error
        if line is None:
            raise self._ended()
        said: dict[str, Any] = msgspec.json.decode(line)
        return said

    def signal(self, number: int) -> None:
        """Sends it a signal."""
        self._process.send_signal(number)

    def must_live(self) -> None:
        """Raises `PartError` with its last words if it has ended."""
        if self._process.poll() is not None:
            raise self._ended()

    def end(self) -> None:
        """SIGTERM, then SIGKILL. A second call does nothing."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._reader.join(GRACE_SECONDS)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _read(self) -> None:
        if self._process.stdout is not None:
            for line in self._process.stdout:
                self._heard.put(line)
        self._heard.put(None)

    def _ended(self) -> PartError:
        return PartError(f"{self.name} ended with status {self._process.poll()}{self._last_words()}")

    def _last_words(self) -> str:
        lines = self._log.read_text(errors="replace").splitlines()[-SHOWN_LINES:]
        return "".join(f"\n  {line}" for line in lines)


@contextmanager
def running(name: str, arguments: list[str], environment: Mapping[str, str], logs: Path) -> Iterator[Process]:
    """A process for the time of the block."""
    process = Process(name, arguments, environment, logs)
    try:
        yield process
    finally:
        process.end()


def cpu_seconds(pid: int) -> float:
    """CPU used so far by a process and what it started, ended ones that it has waited for included.

    Of this process itself without them: it has started everything.
    """
    root = psutil.Process(pid)
    if pid == os.getpid():
        own = root.cpu_times()
        return float(own.user + own.system)
    return sum(_cpu(each) for each in [root, *root.children(recursive=True)])


def _cpu(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)


class Meter:
    """CPU of processes, by name, from the start of the block to its end; and the time it took, in seconds."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = pids
        self.cpu: dict[str, float] = {}
        self.seconds = 0.0

    def __enter__(self) -> Meter:
        self._before = self._now()
        self._began = time.monotonic()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            return
        self.seconds = time.monotonic() - self._began
        after = self._now()
        self.cpu = {name: after[name] - before for name, before in self._before.items()}

    def _now(self) -> dict[str, float]:
        return {name: cpu_seconds(pid) for name, pid in self._pids.items()}
