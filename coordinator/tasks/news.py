"""What coordinators tell one another about tasks, on a channel: fast, at most once. What is lost, the store knows."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence

import msgspec

from bus.port import Bus, Listening
from coordinator.noderesult import NodeResult
from core.errors import BusError
from policy.window import Demand

log = logging.getLogger(__name__)

CHANNEL = "agentos-tasks"


class Served(msgspec.Struct, frozen=True, array_like=True):
    """A call's way: Unix times in seconds, of the coordinator that dispatched it and of its worker."""

    submitted_at: float
    received_at: float
    started_at: float
    finished_at: float
    batch_size: int


class Settled(msgspec.Struct, frozen=True, array_like=True):
    """A node has its result. `request_id`: of the dispatch that it answers; None where no worker was asked.
    `served`: how it came about, where a call was made and that is known.
    """

    task_id: int
    node_id: str
    request_id: str | None
    result: NodeResult
    served: Served | None = None


class News(msgspec.Struct, frozen=True, omit_defaults=True):
    """`sender`: the coordinator's process. `settled`: nodes that have their result. `changed`: tasks that were
    revised, cancelled or have ended. `demands`: what it has outstanding and waiting, by model.
    """

    sender: str
    settled: list[Settled] = []
    changed: list[int] = []
    demands: dict[str, Demand] = {}


_decode = msgspec.json.Decoder(News).decode


class Newsroom:
    """Tells and hears. `sender`: this process. `ended`: see `end`.

    `has_peers`: whether anybody else is there to hear. `owns`: whether a task is carried on here: what its nodes have
    done is nothing to the others; who follows its events there finds them in the store.

    What is told here is heard here too, at once and without the broker.
    """

    def __init__(self, bus: Bus, sender: str, *, has_peers: Callable[[], bool], owns: Callable[[int], bool]) -> None:
        self._bus = bus
        self.sender = sender
        self._has_peers = has_peers
        self._owns = owns
        self._hearers: list[Callable[[News], None]] = []
        self._watchers: dict[int, set[asyncio.Event]] = {}
        self.ended = False
        self._sending: set[asyncio.Task[None]] = set()

    def add(self, hearer: Callable[[News], None]) -> None:
        """`hearer` gets everything from now on; it must not block or raise."""
        self._hearers.append(hearer)

    async def listen(self) -> Listening:
        """Hears others until the listening is closed."""
        return await self._bus.listen(CHANNEL, self._hear)

    def tell(
        self,
        *,
        settled: Sequence[Settled] = (),
        changed: Sequence[int] = (),
        demands: dict[str, Demand] | None = None,
    ) -> None:
        """Tells this coordinator and, where there are any, the others."""
        elsewhere = [each for each in settled if not self._owns(each.task_id)]
        self._spread(News(self.sender, list(settled), list(changed)))
        news = News(self.sender, elsewhere, list(changed), demands or {})
        if self._has_peers() and (news.settled or news.changed or news.demands):
            task = asyncio.create_task(self._send(news), name="news")
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    @contextlib.contextmanager
    def watch(self, task_id: int) -> Iterator[asyncio.Event]:
        """An event that is set whenever something may have happened to the task."""
        event = asyncio.Event()
        self._watchers.setdefault(task_id, set()).add(event)
        try:
            yield event
        finally:
            self._watchers[task_id].discard(event)
            if not self._watchers[task_id]:
                del self._watchers[task_id]

    def end(self) -> None:
        """Whoever watches is told that nothing more will be heard here: `ended`."""
        self.ended = True
        for events in self._watchers.values():
            for event in events:
                event.set()

    async def drain(self) -> None:
        """Returns when all that was told has left."""
        while self._sending:
            await asyncio.wait(self._sending)

    async def _send(self, news: News) -> None:
        try:
            await self._bus.send(CHANNEL, msgspec.json.encode(news))
        except BusError as error:
            log.warning("other coordinators hear of tasks from the store, later: %s", error)

    def _hear(self, frame: bytes) -> None:
        try:
            news = _decode(frame)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            log.warning("on %s: not news: %s", CHANNEL, type(error).__name__)
            return
        if news.sender != self.sender:
            self._spread(news)

    def _spread(self, news: News) -> None:
        for hearer in self._hearers:
            hearer(news)
        for task_id in (*news.changed, *(each.task_id for each in news.settled)):
            for event in self._watchers.get(task_id, ()):
                event.set()
