"""A node that batches: what it takes, tells and gives back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import asyncpg
import msgspec
import pytest

from bus.messages import BatchOrder, Control, ResultMessage, Usage, WorkerNotice, decode_notice, encode
from bus.port import Bus
from bus.topics import WORKERS_CHANNEL, control_channel, model_subscription, model_topic
from tests.workernode.batching.served import PATIENCE, Served
from tests.workernode.road import RESULTS, Road
from workernode.settings import WorkerSettings

DATA = {"kind": "any"}
# A batch that is expected to end long after the test; and one that should have ended already.
FOR_EVER, AT_ONCE = {1: 3600.0}, {1: 0.001}


class BatchRoad(Road):
    """A road whose worker's backend ends its work when the test says so."""

    def __init__(self, bus: Bus, backend: Served) -> None:
        settings = WorkerSettings(
            node_type="mock", model_name="m", bus_url="x", res_topic_name=RESULTS, grace_seconds=5
        )
        super().__init__(bus, backend, settings)
        self.backend = backend
        self.told: asyncio.Queue[WorkerNotice] = asyncio.Queue()

    async def start(self) -> None:
        await super().start()
        await self.bus.listen(WORKERS_CHANNEL, self._hear_notice)

    def _hear_notice(self, frame: bytes) -> None:
        notice = decode_notice(frame)
        if isinstance(notice, WorkerNotice):
            self.told.put_nowait(notice)

    async def ask(self, *names: str, **fields: Any) -> None:
        for name in names:
            await self.send(request_id=name, data=DATA, **fields)

    async def order(self, size: int, policy: Any = "none", seconds: dict[int, float] | None = None) -> None:
        """Orders batches until the worker follows; how it then tells of itself."""
        order = Control(batch=BatchOrder(size=size, policy=policy, seconds=seconds or AT_ONCE))
        await self.bus.send(control_channel("m"), encode(order))
        async with asyncio.timeout(PATIENCE):
            while (await self.notice()).slots != size:
                pass

    async def notice(self) -> WorkerNotice:
        """The next notice that the worker begins from now on."""
        while not self.told.empty():
            self.told.get_nowait()
        async with asyncio.timeout(PATIENCE):
            return await self.told.get()

    async def queued(self, count: int) -> None:
        """Waits until so many requests wait for their batch."""
        async with asyncio.timeout(PATIENCE):
            while (batch := (await self.notice()).batch) is None or batch.queued != count:
                pass

    async def serve(self, count: int) -> None:
        """Lets pieces of work end, one after another, until so many requests were served."""
        number = 0
        while sum(map(len, self.backend.work[:number])) < count:
            await self.backend.begun(number + 1)
            self.backend.finish(number)
            number += 1

    async def until(self, condition: Callable[[Any], bool]) -> None:
        """Waits for figures of the subscription, of which nobody tells."""
        async with asyncio.timeout(PATIENCE):
            while not condition(await self.backlog()):  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    async def results(self, count: int) -> dict[str, ResultMessage]:
        found = [await self.result() for _ in range(count)]
        assert len({each.request_id for each in found}) == count
        return {each.request_id: each for each in found}


@pytest.fixture
async def road(embedded_bus: Bus) -> AsyncIterator[BatchRoad]:
    road = BatchRoad(embedded_bus, Served(joint=True))
    await road.start()
    living = asyncio.create_task(road.live())
    await road.present()
    yield road
    road.stop.signal()
    road.stop.signal()
    await living


async def test_while_a_batch_runs_it_takes_nothing(road: BatchRoad) -> None:
    await road.order(4, seconds=FOR_EVER)
    await road.ask("a")
    await road.backend.begun(1)
    await road.ask("b", "c", "d", "e", "f")
    await road.notice()  # a second passes
    figures = await road.backlog()
    assert (figures.in_flight, figures.ready) == (1, 5)
    road.backend.finish()
    await road.backend.begun(2)
    assert len(road.backend.work[1]) <= 4


async def test_all_that_wait_are_served_in_batches_once_each(road: BatchRoad) -> None:
    await road.order(4)
    await road.ask(*(f"r{number}" for number in range(10)))
    await road.backend.begun(1)
    await road.queued(4)
    await road.serve(10)
    results = await road.results(10)
    assert {each.outcome for each in results.values()} == {"completed"}
    assert max(each.batch_size for each in results.values()) == 4
    assert all(len(work) <= 4 for work in road.backend.work)
    await road.settled()


async def test_shortly_before_the_end_the_next_batch_is_taken(road: BatchRoad) -> None:
    await road.order(2, seconds={1: 0.3})
    await road.ask("a")
    await road.backend.begun(1)
    await road.ask("b", "c", "d", "e")
    await road.queued(2)
    figures = await road.backlog()
    assert (figures.in_flight, figures.ready) == (3, 2)
    assert road.backend.work == [["a"]]
    road.backend.finish()
    await road.backend.begun(2)
    assert road.backend.work[1] == ["b", "c"]


async def test_an_order_for_a_larger_batch_is_followed_while_one_runs(road: BatchRoad) -> None:
    await road.order(1)
    await road.ask(*"abcdefg")
    await road.backend.begun(1)
    await road.order(3)
    await road.queued(3)
    await road.serve(7)
    assert len(road.backend.work[1]) == 3


async def test_what_cannot_make_it_is_told_at_once_and_never_called(road: BatchRoad) -> None:
    await road.order(4, "lazy", {1: 5.0, 4: 6.0})
    await road.ask("hopeless", serve_by=time.time() + 1, deadline=time.time() + 60)
    frame, result = await road.frame(), await road.result()
    assert (frame.status, msgspec.json.decode(frame.data)["error"]["code"]) == (504, "deadline_unreachable")
    assert (result.outcome, result.status, result.reached_provider) == ("expired", 504, False)
    assert result.error is not None
    assert result.error["code"] == "deadline_unreachable"
    await road.settled()
    assert road.backend.work == []


async def test_without_serve_by_the_deadline_counts(road: BatchRoad) -> None:
    await road.order(4, "lazy", {1: 5.0, 4: 6.0})
    await road.ask("hopeless", deadline=time.time() + 2)
    assert (await road.result()).outcome == "expired"
    assert road.backend.work == []


async def test_a_cancelled_one_of_a_running_batch_leaves_the_others(road: BatchRoad) -> None:
    await road.order(3)
    await road.ask("first")
    await road.backend.begun(1)
    await road.ask("a", "b", "c")
    await road.queued(3)
    road.backend.finish()
    await road.backend.begun(2)
    assert road.backend.work[1] == ["a", "b", "c"]
    await road.bus.send(control_channel("m"), encode(Control(cancel=["b"])))
    await road.notice()  # it has been heard
    road.backend.finish(1)
    results = await road.results(4)
    assert {name: each.outcome for name, each in results.items()} == {
        "first": "completed",
        "a": "completed",
        "b": "cancelled",
        "c": "completed",
    }
    assert results["b"].usage == Usage(1, 2, 3)
    assert road.backend.cut_off == []
    await road.settled()


async def test_a_stop_gives_back_what_waits_and_lets_the_batch_finish(road: BatchRoad) -> None:
    await road.order(2)
    await road.ask("a")
    await road.backend.begun(1)
    await road.ask("b", "c")
    await road.until(lambda figures: figures.in_flight == 3)
    road.stop.signal()
    subscription = await road.bus.subscribe(model_topic("m"), model_subscription("m"), window=5)
    back: set[bytes] = set()
    async with asyncio.timeout(PATIENCE):
        while len(back) < 2:
            back |= {each.body for each in await subscription.receive()}
    assert all(b'"b"' in each or b'"c"' in each for each in back)
    road.backend.finish()
    assert (await road.result()).request_id == "a"


async def test_a_suspect_is_served_alone(road: BatchRoad, empty_database: str) -> None:
    await road.order(4, seconds=FOR_EVER)
    await road.ask("first")
    await road.backend.begun(1)
    await road.ask("suspect", "b", "c")  # not taken yet
    connection = await asyncpg.connect(empty_database)
    await connection.execute("update agentos_bus.messages set crashes = 2 where body like '%suspect%'")
    await connection.close()
    await road.serve(4)
    await road.results(4)
    assert ["suspect"] in road.backend.work


async def test_its_notices_tell_of_its_batches(road: BatchRoad) -> None:
    await road.order(4)
    await road.ask("a", "b")
    await road.serve(2)
    served = 0
    while served < 2:
        notice = await road.notice()
        if notice.batch is not None:
            assert (notice.slots, notice.batch.size) == (4, 4)
            served += notice.batch.requests


async def test_a_node_without_orders_does_not_batch(road: BatchRoad) -> None:
    await road.ask("a", "b")
    await road.backend.begun(2)
    assert sorted(road.backend.work) == [["a"], ["b"]]
    road.backend.finish(0)
    road.backend.finish(1)
    assert {each.batch_size for each in (await road.results(2)).values()} == {1}
