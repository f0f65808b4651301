"""Real processes that stand in for parts of a run, and what is asked about them."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from agentos.processes import RUN_VARIABLE

PATIENCE = 20.0
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
)
PLAIN = "import time; print('up', flush=True); time.sleep(600)"


@contextmanager
def process(code: str, *, mark: str | None = None) -> Iterator[subprocess.Popen[str]]:
    """A Python process that has printed a first line, with or without a mark; killed at the end."""
    environment = {name: value for name, value in os.environ.items() if name != RUN_VARIABLE}
    if mark:
        environment[RUN_VARIABLE] = mark
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], env=environment, stdout=subprocess.PIPE, text=True
    ) as started:
        try:
            assert started.stdout is not None
            assert started.stdout.readline()
            yield started
        finally:
            started.kill()


def dead_owner_mark() -> str:
    """The mark of a run whose owner has ended."""
    code = "from agentos.processes import Run; print(Run.new())"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def wait_gone(pids: list[int]) -> list[int]:
    """Waits until the processes have ended; returns those that have not in time."""
    found = [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
    _, alive = psutil.wait_procs(found, timeout=PATIENCE)
    return [each.pid for each in alive if each.status() != psutil.STATUS_ZOMBIE]


def using(directory: Path) -> list[int]:
    """Processes that work in a directory or below, or name it in their environment or command."""
    here = str(directory)
    found = []
    for each in psutil.process_iter():
        try:
            told = [each.cwd(), *each.cmdline(), *each.environ().values()]
        except (psutil.Error, OSError):
            continue
        if each.pid != os.getpid() and any(here in part for part in told):
            found.append(each.pid)
    return found
