"""The local backend: a model process of our own, started, watched and started anew, and spoken to over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections import Counter
from pathlib import Path

from prometheus_client import Gauge

from bus.messages import NodeType
from core.errors import ConfigurationError, PartError
from workernode.backends.base import Answer, Call, Sink
from workernode.backends.remote import RemoteBackend
from workernode.classify import Loss, Retry, Verdict, delay, error_object, lost
from workernode.company import Company
from workernode.errors import BackendUnavailable, CallFailed
from workernode.machine import cpus
from workernode.modelprocess import ModelProcess
from workernode.modelwatch import ModelWatch
from workernode.resources import Capacity, Resources

log = logging.getLogger(__name__)

CAPACITY = Gauge("agentos_worker_local_slots", "Calls that the local model takes at once now.")

# A process that lived this long was well: the next pause is a short one again.
WELL_SECONDS = 60.0
# How long after its connections a process may end.
END_SECONDS = 1.0
# A request during whose calls the process has ended so often, at last alone with it, is not tried again.
MOST_CRASHES = 3
REMEMBERED_SUSPECTS = 1000

STARTING = "the model process is being started"
CRASHED = error_object("The model process ended each time it served this request.", "server_error", "model_crashed")


def slots(wanted: int) -> int:
    """How many requests one model process serves at once: more would only make each slower."""
    return min(wanted, max(4, int(cpus()) // 4))


def threads_for(count: float) -> int:
    """One CPU is left to the worker: the model's threads wait for each other at every step, and one that has to share
    its CPU holds up all.
    """
    return max(1, int(count) - 1)


class LocalBackend:
    """Serves `file` under the name `alias`; embeddings as well, where `pooling` says how (see `llama_server`).

    While its process is started anew it has no capacity. Calls under way when it ends may be made again at once,
    elsewhere or here, where each then runs alone: one that ends the process every time does not take others with it.
    """

    node_type: NodeType = "local"
    joint = None  # llama.cpp fills a slot anew when its call has ended: that is better than to wait for the longest

    def __init__(
        self,
        file: Path,
        *,
        alias: str,
        max_slots: int,
        idle_timeout: float,
        call_timeout: float,
        threads: int = 0,
        pooling: str = "",
    ) -> None:
        self.slots = slots(max_slots)
        self._file = file
        self._alias = alias
        self._threads = threads or threads_for(cpus())
        self._pooling = pooling
        self._idle_timeout = idle_timeout
        self._call_timeout = call_timeout
        self._process: ModelProcess | None = None
        self._remote: RemoteBackend | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._resources = Resources(self.slots)
        self._capacity = Capacity(self.slots)
        self._company = Company()
        self._crashes: Counter[str] = Counter()

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
        if (remote := self._serving()) is None:
            raise BackendUnavailable(STARTING)
        await remote.check()

    def capacity(self) -> Capacity:
        """How many calls at once now; none while the process is started."""
        return self._capacity if self._serving() else Capacity(0, STARTING)

    def _serving(self) -> RemoteBackend | None:
        """The way to the model; None from the moment its process has ended."""
        return self._remote if self.pid is not None else None

    async def call(self, call: Call, sink: Sink | None) -> Answer:
        async with self._company.entered(alone=call.request_id in self._crashes):
            process, remote = self._process, self._serving()
            if process is None or remote is None:
                raise BackendUnavailable(STARTING)
            try:
                answer = await _call(process, remote, call, sink)
            except CallFailed as failure:
                if failure.status != 502 or not await _ends(process):
                    raise
                raise CallFailed(self._crashed(call.request_id), usage=failure.usage) from failure
        self._crashes.pop(call.request_id, None)
        return answer

    def _crashed(self, request_id: str) -> Verdict:
        self._crashes[request_id] += 1
        if self._crashes[request_id] >= MOST_CRASHES:
            del self._crashes[request_id]
            return Verdict(Retry.NEVER, 500, CRASHED)
        if len(self._crashes) > REMEMBERED_SUSPECTS:
            del self._crashes[next(iter(self._crashes))]
        connection = lost(Loss.CONNECTION)
        return Verdict(Retry.BACK_OFF, connection.status, connection.error, retry_after=0.0)

    async def _serve(self) -> ModelProcess:
        process = ModelProcess(
            self._file, parallel=self.slots, threads=self._threads, alias=self._alias, pooling=self._pooling
        )
        await process.start()
        self._process = process
        remote = RemoteBackend(
            process.address,
            "",
            slots=self.slots,
            idle_timeout=self._idle_timeout,
            call_timeout=self._call_timeout,
        )
        await remote.start()
        self._remote = remote
        return process

    async def _retire(self) -> None:
        remote, self._remote = self._remote, None
        try:
            # Until it has ended it is ours: `close`, which cancels the watcher meanwhile, ends it then.
            if self._process is not None:
                await self._process.stop()
                self._process = None
        finally:
            if remote is not None:
                await remote.close()

    async def _watch(self, process: ModelProcess) -> None:
        tries = 0
        while True:
            since = time.monotonic()
            log.error("the model process %s; it is started anew", await self._until_over(process))
            await self._retire()
            tries = 0 if time.monotonic() - since > WELL_SECONDS else tries
            process, tries = await self._serve_anew(tries)

    async def _until_over(self, process: ModelProcess) -> str:
        """Returns why, when the process has ended or should be ended."""
        watch = ModelWatch(process, self._resources, self._hear)
        ended = asyncio.create_task(process.wait(), name="end of the model process")
        hung = asyncio.create_task(watch.until_hung(), name="looks at the model process")
        try:
            await asyncio.wait([ended, hung], return_when=asyncio.FIRST_COMPLETED)
            if not ended.done():
                process.kill()
            return "ended" if ended.done() else hung.result()
        finally:
            for task in (ended, hung):
                task.cancel()
            await asyncio.wait([ended, hung])

    def _hear(self, capacity: Capacity) -> None:
        if capacity != self._capacity:
            level = logging.WARNING if capacity.slots < self._capacity.slots else logging.INFO
            log.log(level, "%d of %d slots%s", capacity.slots, self.slots, capacity.reason and f"; {capacity.reason}")
            self._capacity = capacity
        CAPACITY.set(capacity.slots)

    async def _serve_anew(self, tries: int) -> tuple[ModelProcess, int]:
        while True:
            tries += 1
            await asyncio.sleep(delay(Retry.BACK_OFF, tries, None, random.uniform))
            try:
                return await self._serve(), tries
            except (PartError, ConfigurationError, OSError) as error:
                log.error("the model process did not start: %s", error)  # noqa: TRY400 - the text says it all


async def _call(process: ModelProcess, remote: RemoteBackend, call: Call, sink: Sink | None) -> Answer:
    """Ends with the process: aiohttp lets who reads a stream wait on where its own side has closed the connection."""
    calling = asyncio.create_task(remote.call(call, sink), name="call of the model")
    over = asyncio.create_task(process.wait(), name="end of the model process")
    try:
        await asyncio.wait([calling, over], return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait([calling], timeout=END_SECONDS if over.done() else None)
        if calling.done():
            return calling.result()
        raise CallFailed(lost(Loss.CONNECTION), usage=call.progress.usage())
    finally:
        calling.cancel()
        over.cancel()
        await asyncio.wait([calling, over])


async def _ends(process: ModelProcess) -> bool:
    """Whether a process that has lost a connection has ended, or is being ended."""
    try:
        async with asyncio.timeout(END_SECONDS):
            await process.wait()
    except TimeoutError:
        return False
    return True
