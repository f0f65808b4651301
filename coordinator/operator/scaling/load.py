"""What the broker, the workers and the coordinators tell of each model."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import NamedTuple

from bus import messages
from bus.hearing import hearing
from bus.messages import ModelNotice, NodeType, Notice, RollCall, WorkerNotice, decode_notice
from bus.nodes import pod_of
from bus.port import Backlog, Bus
from bus.scaling import FrontendInformation, Order, decode_scaling
from bus.topics import SCALING_CHANNEL, WORKERS_CHANNEL, model_subscription, model_topic
from coordinator.crew import Crew
from coordinator.operator.scaling.orders import Orders
from coordinator.operator.scaling.shares import Look
from core.errors import BusUnavailable
from core.loopwatch import now
from core.run import wait_for_any

# Looks at the broker at one time, and how long one may take.
SIDE_BY_SIDE = 8
LOOK_SECONDS = 10.0
# Six frames of a coordinator that did not come.
SILENT_SECONDS = 3.0
# Gateways remember models: they are told again for those gateways that were not there, or have lost the frame.
ANNOUNCE_SECONDS = 60.0
# Workers answer a roll call at once.
ANSWER_SECONDS = 1.0


class _Ready(NamedTuple):
    """Nodes whose turn has not come, at one coordinator, by model."""

    counts: Mapping[str, int]
    at: float


class Load:
    """On one connection. Times are of `core.loopwatch.now`."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self.orders = Orders()
        self._crew = Crew()
        self._ready: dict[str, _Ready] = {}
        self._taken: dict[str, dict[str, int]] = {}
        self._ensured: set[str] = set()
        self._side_by_side = asyncio.Semaphore(SIDE_BY_SIDE)
        self._announced: dict[str, float] = {}
        self._called_at = 0.0
        self._news = asyncio.Event()

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Hears workers, coordinators and the planner. Raises `BusError`."""
        async with contextlib.AsyncExitStack() as stack:
            workers = hearing(WORKERS_CHANNEL, decode_notice, self._hear_worker)
            stack.push_async_callback((await self._bus.listen(WORKERS_CHANNEL, workers)).close)
            loads = hearing(SCALING_CHANNEL, decode_scaling, self._hear_load)
            stack.push_async_callback((await self._bus.listen(SCALING_CHANNEL, loads)).close)
            await self._call()
            yield

    async def look(self, model: str) -> Look:
        """How much there is to do now. Raises `BusError`.

        From the first look on requests are kept for workers that are yet to come.
        """
        async with self._side_by_side:
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    backlog = await self._backlog(model)
            except TimeoutError as error:
                raise BusUnavailable(f"the backlog of {model} is not known after {LOOK_SECONDS:g} s") from error
        moved = self._moved(model)
        return Look(now(), backlog.ready + self._ready_of(model), backlog.in_flight, moved)

    async def announce(self, model: str, node_type: NodeType) -> None:
        """Tells gateways of it: none of its workers may have been there yet. Raises `BusError`."""
        if now() - self._announced.get(model, -ANNOUNCE_SECONDS) >= ANNOUNCE_SECONDS:
            await self._bus.send(WORKERS_CHANNEL, messages.encode(ModelNotice(model=model, node_type=node_type)))
            self._announced[model] = now()

    def held(self, model: str) -> dict[str, int]:
        """What workers have told last that they hold, by their Pods."""
        return {pod_of(notice.node): notice.held for notice in self._crew.notices(model, now())}

    async def fresh(self, model: str) -> None:
        """Returns when its workers have told of themselves anew, or have had time to. Raises `BusError`."""
        if now() - self._called_at > ANSWER_SECONDS:
            await self._call()
        called_at = self._called_at
        while (left := called_at + ANSWER_SECONDS - now()) > 0:
            self._news.clear()
            if self._crew.have_told(model, called_at, now()):
                return
            await wait_for_any(self._news, seconds=left)

    async def _call(self) -> None:
        self._called_at = now()
        await self._bus.send(WORKERS_CHANNEL, messages.encode(RollCall()))

    async def _backlog(self, model: str) -> Backlog:
        topic, subscription = model_topic(model), model_subscription(model)
        if model not in self._ensured:
            await self._bus.ensure_subscription(topic, subscription)
            self._ensured.add(model)
        return await self._bus.backlog(topic, subscription)

    def _ready_of(self, model: str) -> int:
        since = now() - SILENT_SECONDS
        return sum(each.counts.get(model, 0) for each in self._ready.values() if each.at > since)

    def _moved(self, model: str) -> bool:
        """Whether a worker has taken anything since the last look."""
        before = self._taken.get(model, {})
        taken = {notice.node: notice.taken for notice in self._crew.notices(model, now())}
        self._taken[model] = taken
        return any(count != before.get(node, 0) for node, count in taken.items())

    def _hear_worker(self, notice: Notice) -> None:
        if isinstance(notice, WorkerNotice):
            self._crew.hear(notice, now())
            self._news.set()

    def _hear_load(self, told: FrontendInformation | Order) -> None:
        if isinstance(told, Order):
            self.orders.hear(told, now())
            return
        since = now() - SILENT_SECONDS
        self._ready = {sender: each for sender, each in self._ready.items() if each.at > since}
        if told.ready:
            self._ready[told.sender] = _Ready(told.ready, now())
        else:
            self._ready.pop(told.sender, None)
