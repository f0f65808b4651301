"""Planners of several coordinators on one real bus: one acts, all know; workers and executors hear of it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable

import pytest
from prometheus_client import REGISTRY

from bus import messages
from bus.messages import Control, WorkerNotice, decode_control
from bus.port import Bus
from bus.scaling import FrontendInformation, Order, decode_scaling
from bus.topics import SCALING_CHANNEL, WORKERS_CHANNEL, control_channel
from coordinator.planning import service
from coordinator.planning.service import Planner
from core.liveness import Beat
from policy.slo.pipeline import Pipeline, Stage, checked

SECONDS = {1: 0.069, 8: 0.396, 32: 1.544}
PATIENCE = 30.0


def pipeline(name: str) -> Pipeline:
    return checked(Pipeline(name=name, slo_seconds=2.0, stages=[Stage(id="a", model=f"{name}-a", profile=SECONDS)]))


class Heard:
    """What came over the channels, to be waited for."""

    def __init__(self) -> None:
        self.orders: list[Order] = []
        self.loads: list[FrontendInformation] = []
        self.controls: list[Control] = []
        self._news = asyncio.Event()

    def scaling(self, frame: bytes) -> None:
        message = decode_scaling(frame)
        if isinstance(message, Order):
            self.orders.append(message)
        else:
            self.loads.append(message)
        self._news.set()

    def control(self, frame: bytes) -> None:
        self.controls.append(decode_control(frame))
        self._news.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                self._news.clear()
                await self._news.wait()


class House:
    """Coordinators that know one another, with one pipeline."""

    def __init__(self, bus: Bus, name: str) -> None:
        self.bus = bus
        self.pipelines = {name: pipeline(name)}
        self.peers: list[str] = []
        self.waiting: dict[str, dict[str, int]] = {}
        self.ready: dict[str, int] = {}

    def planner(self, name: str, *, acts: bool = True) -> Planner:
        return Planner(
            self.bus,
            name=lambda: name,
            peers=lambda: self.peers,
            pipelines=lambda: self.pipelines,
            waiting=lambda: self.waiting,
            ready=lambda: self.ready,
            acts=acts,
        )


@contextlib.asynccontextmanager
async def running(*planners: Planner) -> AsyncIterator[None]:
    async with contextlib.AsyncExitStack() as stack:
        for planner in planners:
            await stack.enter_async_context(planner.listening())
        sides = [
            asyncio.create_task(side)
            for planner in planners
            for side in planner.sides(lambda _: Beat(60.0, time.monotonic)).values()
        ]
        try:
            yield
        finally:
            for side in sides:
                side.cancel()
            results = await asyncio.gather(*sides, return_exceptions=True)
            assert all(isinstance(each, asyncio.CancelledError) for each in results)


@pytest.fixture
async def heard(embedded_bus: Bus) -> AsyncIterator[Heard]:
    heard = Heard()
    listening = [
        await embedded_bus.listen(SCALING_CHANNEL, heard.scaling),
        await embedded_bus.listen(control_channel("p-a"), heard.control),
    ]
    yield heard
    for each in listening:
        await each.close()


async def test_the_least_name_orders_and_the_next_goes_on_when_it_is_gone(embedded_bus: Bus, heard: Heard) -> None:
    house = House(embedded_bus, "p")
    house.peers = ["c-1", "c-2"]
    first, second = house.planner("c-1"), house.planner("c-2")
    async with running(second):
        async with running(first):
            await heard.until(lambda: len(heard.orders) >= 2)
            assert {order.planner for order in heard.orders} == {"c-1"}
        house.peers = ["c-2"]
        await heard.until(lambda: heard.orders[-1].planner == "c-2")
    assert {order.pipeline for order in heard.orders} == {"p"}
    assert all((order.workers, order.models) == ({"a": 1}, {"a": "p-a"}) for order in heard.orders)


async def test_what_came_to_another_coordinator_counts(embedded_bus: Bus, heard: Heard) -> None:
    house = House(embedded_bus, "p")
    house.peers = ["c-1", "c-2"]
    acting, other = house.planner("c-1"), house.planner("c-2")
    async with running(acting, other):
        await heard.until(lambda: bool(heard.orders))
        before = len(heard.controls)
        other.offered("p", 400)
        await heard.until(lambda: heard.orders[-1].workers["a"] > 1)
        await heard.until(lambda: any(each.batch and each.batch.size > 1 for each in heard.controls[before:]))
    assert heard.orders[-1].planner == "c-1"
    batch = heard.controls[-1].batch
    assert batch is not None
    assert (batch.policy, batch.seconds) == ("agentos", SECONDS)


async def test_a_new_worker_hears_at_once(embedded_bus: Bus, heard: Heard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "REPEAT_SECONDS", 3600.0)
    house = House(embedded_bus, "p")
    house.peers = ["c-1"]
    async with running(house.planner("c-1")):
        await heard.until(lambda: bool(heard.controls))
        before = len(heard.controls)
        notice = WorkerNotice(node="w-1", model="p-a", node_type="mock", slots=1)
        await embedded_bus.send(WORKERS_CHANNEL, messages.encode(notice))
        await heard.until(lambda: len(heard.controls) > before)
        await heard.until(lambda: REGISTRY.get_sample_value("agentos_planner_workers_present", LABELS) == 1)


LABELS = {"pipeline": "p", "stage": "a"}


async def test_orders_are_repeated(embedded_bus: Bus, heard: Heard) -> None:
    house = House(embedded_bus, "p")
    house.peers = ["c-1"]
    async with running(house.planner("c-1")):
        await heard.until(lambda: len(heard.orders) >= 3)
    times = [order.at for order in heard.orders]
    assert times == sorted(set(times))


async def test_nodes_that_are_ready_are_told_of_where_there_is_no_pipeline_too(
    embedded_bus: Bus, heard: Heard
) -> None:
    house = House(embedded_bus, "p")
    house.pipelines, house.ready = {}, {"m": 40}
    async with running(house.planner("c-1", acts=False)):
        await heard.until(lambda: bool(heard.loads))
    assert all(load.ready == {"m": 40} for load in heard.loads)


async def test_switched_off_it_orders_nothing(embedded_bus: Bus, heard: Heard) -> None:
    house = House(embedded_bus, "p")
    house.peers = ["a-off"]
    async with running(house.planner("a-off", acts=False)):
        seen = asyncio.Event()
        listening = await embedded_bus.listen(SCALING_CHANNEL, lambda _: seen.set())
        for _ in range(3):  # its loads
            seen.clear()
            await asyncio.wait_for(seen.wait(), PATIENCE)
        await listening.close()
    assert heard.orders == []
    assert heard.controls == []


async def test_frames_that_are_none_of_its_are_survived(
    embedded_bus: Bus, heard: Heard, caplog: pytest.LogCaptureFixture
) -> None:
    house = House(embedded_bus, "p")
    house.peers = ["c-1"]
    planner = house.planner("c-1")
    async with running(planner):
        await embedded_bus.send(WORKERS_CHANNEL, b"{}")
        await heard.until(lambda: bool(heard.controls))
    assert "not a worker notice" in caplog.text


async def test_a_pipeline_that_is_gone_leaves_the_metrics(embedded_bus: Bus, heard: Heard) -> None:
    house = House(embedded_bus, "p")
    house.peers = ["c-1"]
    async with running(house.planner("c-1")):
        await heard.until(lambda: bool(heard.orders))
        assert REGISTRY.get_sample_value("agentos_planner_workers", LABELS) == 1
        assert REGISTRY.get_sample_value("agentos_planner_feasible", {"pipeline": "p"}) == 1
        house.pipelines = {}
        async with asyncio.timeout(PATIENCE):
            while REGISTRY.get_sample_value("agentos_planner_workers", LABELS) is not None:  # noqa: ASYNC110
                await asyncio.sleep(0.05)  # metrics send no event
