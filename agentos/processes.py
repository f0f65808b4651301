"""Whose a process is: the mark that every process of a run carries, and how marked processes are found and ended.

`AGENTOS_RUN` in a process's environment names the run and its owner (`agentos up`) by process id and start time.
A process is a *leftover* when that owner is no longer alive. Nothing is ever found by its name.
"""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil

RUN_VARIABLE = "AGENTOS_RUN"


@dataclass(frozen=True, slots=True)
class Run:
    """A run of `agentos up`: its owner's process id and start time, and a random part."""

    owner_pid: int
    owner_started: str
    nonce: str

    @classmethod
    def new(cls) -> Self:
        """A run owned by the calling process."""
        pid = os.getpid()
        return cls(pid, started(pid) or "", secrets.token_hex(8))

    @classmethod
    def parse(cls, mark: str) -> Self | None:
        """Reads a mark; None if it is not one."""
        pid, _, rest = mark.partition(":")
        begun, _, nonce = rest.partition(":")
        return cls(int(pid), begun, nonce) if pid.isdecimal() and begun and nonce else None

    def __str__(self) -> str:
        return f"{self.owner_pid}:{self.owner_started}:{self.nonce}"

    def alive(self) -> bool:
        """Whether the owner still runs; a later process with the same id is not the owner."""
        return started(self.owner_pid) == self.owner_started


def started(pid: int) -> str | None:
    """When a process began, in a form that only compares; None if it does not run.

    On Linux in clock ticks since the boot: psutil's own figure moves when the system's clock is set.
    """
    try:
        if Path("/proc/self/stat").exists():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            return None if fields[0] in "ZX" else fields[19]
        return f"{psutil.Process(pid).create_time():.2f}"
    except (OSError, psutil.Error):
        return None


def marked() -> Iterator[tuple[psutil.Process, Run]]:
    """Every other process of this user that carries a mark."""
    here = _pid_namespace(os.getpid())
    for process in psutil.process_iter():
        try:
            if process.pid == os.getpid() or process.uids().real != os.getuid():
                continue
            run = Run.parse(process.environ().get(RUN_VARIABLE, ""))
        except (psutil.Error, OSError):  # it has ended meanwhile, or is not ours to read
            continue
        # In a container's processes the owner's id has another meaning: they are not ours to judge.
        if run and _pid_namespace(process.pid) == here:
            yield process, run


def of_run(run: Run) -> list[psutil.Process]:
    """The other processes of one run."""
    return [process for process, its in marked() if its == run]


def end(processes: Iterable[psutil.Process], *, grace: float) -> list[str]:
    """Ends processes: SIGTERM (SIGINT for a Postgres), `grace` seconds, SIGKILL. Returns a line for each."""
    ended = []
    waiting = []
    for process in processes:
        try:
            line = describe(process)
            process.send_signal(_farewell(process))
        except psutil.NoSuchProcess:
            continue
        ended.append(line)
        waiting.append(process)
    _, stubborn = psutil.wait_procs(waiting, timeout=grace)
    for process in stubborn:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(stubborn, timeout=5)
    return ended


def describe(process: psutil.Process) -> str:
    """A line for a person: process id and command, without its arguments' tail. Raises `psutil.NoSuchProcess`."""
    try:
        command = " ".join(process.cmdline()[:4]) or process.name()
    except psutil.AccessDenied:
        command = process.name()
    return f"{process.pid} {command}"


def _farewell(process: psutil.Process) -> signal.Signals:
    """SIGINT is Postgres's fast shutdown; after SIGTERM it would wait for its clients."""
    try:
        return signal.SIGINT if Path(process.cwd(), "postmaster.pid").exists() else signal.SIGTERM
    except (OSError, psutil.AccessDenied):
        return signal.SIGTERM


def _pid_namespace(pid: int) -> str | None:
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return None
