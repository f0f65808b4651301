"""The parts of a fleet that something happens to. Each suffers one mishap at a time."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress

import psutil

from agentos.parts.postgres import EmbeddedPostgres
from agentos.parts.pulsar import StandalonePulsar
from core.errors import PartError
from tests.chaos.books import Life, Outage
from tests.chaos.schedule import Mishap
from tests.fixtures.fleet import Daemon, until

LOOK_SECONDS = 0.2
# What ends by itself is started again after this, as a supervisor would.
AGAIN_SECONDS = 1.0


class Part(ABC):
    """`outages`: its own, so far. After each it is left alone for as long as that lasted: some parts start slowly."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.outages: list[Outage] = []
        self._turn = asyncio.Lock()

    @property
    def spared(self) -> bool:
        """Whether nothing may happen to it now."""
        last = self.outages[-1] if self.outages else Outage(self.name, 0, 0)
        return self._turn.locked() or time.time() < 2 * last.ended_at - last.began_at

    async def suffer(self, mishap: Mishap) -> None:
        """Returns when it is well again."""
        async with self._turn:
            began_at = time.time()
            await (self._die(mishap.seconds) if mishap.kind == "kill" else self._stand_still(mishap.seconds))
            self.outages.append(Outage(self.name, began_at, time.time()))

    async def _die(self, seconds: float) -> None:
        await self.kill()
        await asyncio.sleep(seconds)
        await self.start()

    async def _stand_still(self, seconds: float) -> None:
        processes = self._processes()
        _send(processes, signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            _send(processes, signal.SIGCONT)

    @abstractmethod
    async def start(self) -> None: ...

    @abstractmethod
    async def kill(self) -> None:
        """SIGKILL, and its end."""

    @abstractmethod
    def _processes(self) -> list[int]: ...


class Served(Part):
    """A worker or a coordinator: each of its lives is a daemon of its own, made by `make` for the name of the life.

    `lives`: all so far. `gave_up`: the last words of those that ended by themselves.
    """

    def __init__(self, name: str, make: Callable[[str], Daemon]) -> None:
        super().__init__(name)
        self._make = make
        self._daemon: Daemon | None = None
        self.lives: list[Life] = []
        self.gave_up: list[str] = []

    @property
    def url(self) -> str:
        """Where it serves; empty while it does not."""
        return self._daemon.url if self._daemon is not None and self._daemon.alive else ""

    async def start(self) -> None:
        life = f"{self.name}.{len(self.lives) + 1}"
        self.lives.append(Life(life, None))
        self._daemon = self._make(life)
        self._daemon.start()

    async def ready(self) -> None:
        """Waits until it can work."""
        assert self._daemon is not None
        await self._daemon.ready()

    async def kill(self) -> None:
        if self._daemon is not None:
            await asyncio.to_thread(self._daemon.kill)
            self.lives[-1] = self.lives[-1]._replace(killed_at=time.time())

    async def keep(self) -> None:
        """Starts it again whenever it has ended by itself, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            async with self._turn:
                if self._daemon is not None and not self._daemon.alive:
                    self.gave_up.append(self._daemon.said().rstrip().rpartition("\n")[2])
                    await asyncio.sleep(AGAIN_SECONDS)
                    await self.start()

    def _processes(self) -> list[int]:
        return [self._daemon.pid] if self._daemon is not None and self._daemon.alive else []


class Postgres(Part):
    """The store, and the embedded bus."""

    def __init__(self, server: EmbeddedPostgres) -> None:
        super().__init__("postgres")
        self._server = server

    async def start(self) -> None:
        await _persistently(lambda: self._server.start())

    async def kill(self) -> None:
        family = _family(self._server.pid)
        _send([each.pid for each in family], signal.SIGKILL)
        _, left = await asyncio.to_thread(psutil.wait_procs, family, timeout=30)
        assert not left, left

    def _processes(self) -> list[int]:
        return [each.pid for each in _family(self._server.pid)]


class Broker(Part):
    """Pulsar."""

    def __init__(self, server: StandalonePulsar) -> None:
        super().__init__("broker")
        self._server = server

    async def start(self) -> None:
        await _persistently(lambda: self._server.start())

    async def kill(self) -> None:
        await asyncio.to_thread(self._server.kill)

    def _processes(self) -> list[int]:
        return [self._server.pid]


async def _persistently(start: Callable[[], object]) -> None:
    """A server that was killed a moment ago may need a second start."""

    async def started() -> bool:
        try:
            await asyncio.to_thread(start)
        except PartError:
            return False
        return True

    await until(started, "a server starts again", seconds=120)


def _family(pid: int) -> list[psutil.Process]:
    """A process and its children. The parent first: it must not start others meanwhile."""
    parent = psutil.Process(pid)
    return [parent, *parent.children(recursive=True)]


def _send(processes: list[int], sign: signal.Signals) -> None:
    for pid in processes:
        with suppress(ProcessLookupError):
            os.kill(pid, sign)
