"""The local backend: a model process of our own, started, watched and started anew, and spoken to over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import time
from pathlib import Path

from bus.messages import NodeType
from core.errors import PartError
from workernode.backends.base import Answer, Call, Sink
from workernode.backends.remote import RemoteBackend
from workernode.classify import Loss, Retry, delay, lost
from workernode.errors import BackendUnavailable, CallFailed
from workernode.modelprocess import ModelProcess

log = logging.getLogger(__name__)

# A process that lived this long was well: the next pause is a short one again.
WELL_SECONDS = 60.0


def slots(wanted: int) -> int:
    """How many requests one model process serves at once: more would only make each slower."""
    return min(wanted, max(4, (os.cpu_count() or 1) // 4))


class LocalBackend:
    """Serves `file` under the name `alias`. While its process is started anew, calls fail and may be tried again."""

    node_type: NodeType = "local"

    def __init__(self, file: Path, *, alias: str, max_slots: int, idle_timeout: float, call_timeout: float) -> None:
        self.slots = slots(max_slots)
        self._file = file
        self._alias = alias
        self._idle_timeout = idle_timeout
        self._call_timeout = call_timeout
        self._process: ModelProcess | None = None
        self._remote: RemoteBackend | None = None
        self._watcher: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The model's process id while it serves."""
        return self._process.pid if self._process is not None else None

    async def start(self) -> None:
        """Returns once the model is loaded. Raises `PartError` or `ConfigurationError`."""
        if self._watcher is None:
            process = await self._serve()
            self._watcher = asyncio.create_task(self._watch(process), name="watcher of the model process")

    async def close(self) -> None:
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watcher
        await self._retire()

    async def check(self) -> None:
        if self._watcher is None or self._watcher.done():
            raise BackendUnavailable("the model process is not watched")
        if self._remote is None:
            raise BackendUnavailable("the model process ended and is being started anew")
        await self._remote.check()

    async def call(self, call: Call, sink: Sink | None) -> Answer:
        if self._remote is None:
            raise CallFailed(lost(Loss.UNREACHABLE), reached_provider=False)
        return await self._remote.call(call, sink)

    async def _serve(self) -> ModelProcess:
        process = ModelProcess(self._file, parallel=self.slots, alias=self._alias)
        await process.start()
        remote = RemoteBackend(
            process.address,
            "",
            slots=self.slots,
            idle_timeout=self._idle_timeout,
            call_timeout=self._call_timeout,
        )
        await remote.start()
        self._process, self._remote = process, remote
        return process

    async def _retire(self) -> None:
        """Ends the connections first: calls under way fail at once, not when the process has ended."""
        process, remote = self._process, self._remote
        self._process = self._remote = None
        if remote is not None:
            await remote.close()
        if process is not None:
            await process.stop()

    async def _watch(self, process: ModelProcess) -> None:
        tries = 0
        while True:
            since = time.monotonic()
            await process.wait()
            log.error("the model process ended; it is started anew")
            await self._retire()
            tries = 0 if time.monotonic() - since > WELL_SECONDS else tries
            process, tries = await self._serve_anew(tries)

    async def _serve_anew(self, tries: int) -> tuple[ModelProcess, int]:
        while True:
            tries += 1
            await asyncio.sleep(delay(Retry.BACK_OFF, tries, None, random.uniform))
            try:
                return await self._serve(), tries
            except PartError as error:
                log.error("the model process did not start: %s", error)  # noqa: TRY400 - the text says it all
