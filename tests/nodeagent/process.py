"""One container's process and those that it starts: a process group that ends with its first process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from pathlib import Path

from tests.nodeagent.environment import Command

# The first process of a container is not to outlive an agent that is killed.
BOUND = ("setpriv", "--pdeathsig", "KILL", "--")


class Grace:
    """How long a Pod that ends may take. `asked`: it ends; `over`: what still runs is killed."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.over = asyncio.Event()

    def ask(self, seconds: float) -> None:
        """May be asked again: what ends earlier counts."""
        self.asked.set()
        asyncio.get_running_loop().call_later(seconds, self.over.set)


class Process:
    """`ended` is set when it has ended; `code` is then its exit code, as a shell tells it. `ending`: asked to."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.ended = asyncio.Event()
        self.code = 0
        self.ending = False
        self._watching = asyncio.create_task(self._watch())

    def terminate(self) -> None:
        """SIGTERM to the first process."""
        if not self.ended.is_set():
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()

    def kill(self) -> None:
        """The whole group, unless it has ended."""
        if not self.ended.is_set():
            _kill_group(self._process.pid)

    async def _watch(self) -> None:
        code = await self._process.wait()
        _kill_group(self._process.pid)
        self.code = code if code >= 0 else 128 - code
        self.ended.set()


async def start(command: Command, log: Path) -> Process:
    """Its output is appended to `log`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            *BOUND,
            *command.argv,
            env=command.environment,
            cwd=command.directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return Process(process)


def _kill_group(leader: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)
