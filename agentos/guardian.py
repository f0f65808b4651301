"""The guardian: ends what `agentos up` started if `up` itself is killed.

`up` starts it first and holds the write end of its standard input, which no other process has. The pipe's end
without a farewell means that `up` is gone. In a session of its own, so that a terminal's signals do not reach it.
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path
from typing import Self

from agentos.processes import Run
from agentos.runs import end_run
from core.errors import PartError

WATCHING = b"watching\n"
FAREWELL = b"done\n"
# Short: whoever sent SIGKILL did not mean to wait. A worker's unfinished calls are delivered again.
GRACE_SECONDS = 3.0


class Guardian:
    """The side of `up`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, run: Run, path: Path, *, lock: int) -> Self:
        """Returns when it watches. Called before `up` marks itself: the guardian is not one of those that it ends.

        `lock`: a file descriptor that the guardian holds, too: the state is free only when it has
        finished. Raises `PartError`.
        """
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "agentos.guardian", str(path), str(run)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            pass_fds=[lock],
        )
        if process.stdout is None or await process.stdout.readline() != WATCHING:
            raise PartError("the guardian of this run did not start")
        return cls(process)

    async def watch(self) -> None:
        """Raises `PartError` if it ends before it is dismissed: nobody would end the run if `up` were killed."""
        await self._process.wait()
        raise PartError("the guardian of this run has ended")

    async def dismiss(self) -> None:
        """Tells it that nothing is left to do, and waits until it has gone."""
        await self._process.communicate(FAREWELL)


def main() -> None:
    """Waits for the pipe's end."""
    for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(sign, signal.SIG_IGN)
    run = Run.parse(sys.argv[2])
    sys.stdout.buffer.write(WATCHING)
    sys.stdout.buffer.flush()
    if sys.stdin.buffer.read() != FAREWELL and run is not None:
        end_run(run, Path(sys.argv[1]), grace=GRACE_SECONDS)


if __name__ == "__main__":
    main()
