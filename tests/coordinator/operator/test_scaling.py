"""The scaler on both brokers: real workers come and go by their backlog; what it hears, and when nobody answers."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prometheus_client import REGISTRY

from bus import messages
from bus.connect import connect
from bus.messages import ModelNotice, Notice, RollCall, WorkerNotice, decode_notice
from bus.port import Backlog, Bus, Outgoing
from bus.scaling import FrontendInformation, Order
from bus.topics import SCALING_CHANNEL, WORKERS_CHANNEL, model_subscription, model_topic
from coordinator.operator.scaling import orders
from coordinator.operator.scaling import scaler as scaling
from coordinator.operator.scaling.fleet import Scaled
from coordinator.operator.scaling.scaler import Scaler
from coordinator.operator.wanted.aimodel import Key
from core.cluster import ClusterError
from core.errors import BusUnavailable
from core.liveness import Beat
from policy.scaling import Scaling
from tests.fixtures.fleet import Daemon, until

Address = dict[str, str]
KEY: Key = ("team", "a")
SLOTS = 2


@pytest.fixture(params=["postgres", pytest.param("pulsar", marks=pytest.mark.pulsar)])
def address(request: pytest.FixtureRequest) -> Address:
    """Of a broker, which is asked for here, so that the other one is not started."""
    if request.param == "postgres":
        return {"bus_url": request.getfixturevalue("empty_database")}
    pulsar: Address = request.getfixturevalue("pulsar_address")
    return pulsar


@pytest.fixture
async def bus(address: Address) -> AsyncIterator[Bus]:
    """A connection of the test's own."""
    bus = await connect(**address)
    yield bus
    await bus.close()


@pytest.fixture
def model() -> str:
    """One that nobody else serves."""
    return f"org/{uuid.uuid4().hex}"


class Recorded:
    """A fleet that notes what it is told. Replicas are there at once."""

    def __init__(self, *members: Scaled) -> None:
        self.members = {each.key: each for each in members}
        self.whys: list[str] = []
        self.backlogs: list[int | None] = []
        self.held: Mapping[str, int] | None = None

    def models(self) -> Sequence[Scaled]:
        return list(self.members.values())

    def replicas(self, key: Key = KEY) -> int:
        return self.members[key].replicas

    def want(self, key: Key, replicas: int, why: str) -> None:
        self.members[key] = msgspec.structs.replace(self.members[key], replicas=replicas, ready=replicas)
        self.whys.append(why)

    def told_backlog(self, key: Key, count: int | None) -> None:
        self.backlogs.append(count)

    async def costs(self, key: Key, held: Mapping[str, int]) -> None:
        self.held = held


def member(model: str, *, replicas: int = 0, key: Key = KEY, **fields: Any) -> Scaled:
    bounds = {"target": SLOTS, "max": 3, **fields}
    return Scaled(
        key=key,
        model=model,
        node_type="remote",
        scaling=Scaling(**bounds),
        slots=SLOTS,
        replicas=replicas,
        ready=replicas,
    )


@contextlib.asynccontextmanager
async def scaled(address: Address, fleet: Recorded, *, broker: Callable[[], Awaitable[Bus]] | None = None) -> Any:
    """A scaler at work."""
    scaler = Scaler(broker or (lambda: connect(**address)), fleet)
    task = asyncio.create_task(scaler.run(Beat(60.0, time.monotonic)))
    try:
        yield
    finally:
        assert not task.done(), task.exception()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def publish(bus: Bus, model: str, count: int, *, seconds: float = 0.0, deliver_after: float = 0.0) -> None:
    body = {
        "model": model,
        "messages": [{"role": "user", "content": "x"}],
        "agentos_mock": {"sleep_seconds": seconds},
    }
    request = {"stream": False, "data": body}
    publisher = await bus.publisher(model_topic(model))
    await publisher.publish(
        [
            Outgoing(msgspec.json.encode(request | {"request_id": uuid.uuid4().hex}), deliver_after=deliver_after)
            for _ in range(count)
        ]
    )


class Processes(Recorded):
    """A fleet whose replicas are real workers."""

    def __init__(self, address: Address, directory: Path, scaled: Scaled) -> None:
        super().__init__(scaled)
        names = {"bus_url": "AGENTOS_BUS_URL", "pulsar_url": "PULSAR_URL", "pulsar_admin_url": "PULSAR_ADMIN_URL"}
        self._environment = {
            **{names[name]: value for name, value in address.items()},
            "NODE_TYPE": "mock",
            "MODEL_NAME": scaled.model,
            "MAX_PROCESS_NUM": str(SLOTS),
            "RES_TOPIC_NAME": f"results-{uuid.uuid4().hex}",
            "PORT": "0",
        }
        self._directory = directory
        self._started: list[Daemon] = []
        self.living: list[Daemon] = []
        self.most = 0

    def models(self) -> Sequence[Scaled]:
        ready = sum("http://" in daemon.said() for daemon in self.living)
        return [msgspec.structs.replace(each, ready=ready) for each in super().models()]

    def want(self, key: Key, replicas: int, why: str) -> None:
        super().want(key, replicas, why)
        while len(self.living) < replicas:
            pod = f"a-deployment-{len(self._started)}"
            command = [sys.executable, "-m", "agentos", "worker"]
            daemon = Daemon(pod, command, self._environment | {"AGENTOS_NODE_NAME": pod}, self._directory)
            daemon.start()
            self._started.append(daemon)
            self.living.append(daemon)
        self.most = max(self.most, replicas)
        cost = self.held or {}
        self.living.sort(key=lambda daemon: -cost.get(daemon.name, 0))
        for daemon in self.living[replicas:]:
            daemon.send(signal.SIGTERM)
        self.living = self.living[:replicas]

    def kill(self) -> None:
        for daemon in self._started:
            daemon.kill()


async def test_workers_come_with_the_work_and_go_with_it(
    address: Address, bus: Bus, model: str, tmp_path: Path
) -> None:
    fleet = Processes(address, tmp_path, member(model, down_seconds=3.0, idle_seconds=4.0))
    try:
        async with scaled(address, fleet):
            await until(lambda: 0 in fleet.backlogs, "it has looked, and nothing is there")
            await publish(bus, model, 1)
            await until(lambda: fleet.replicas() == 1, "the first message starts one")
            await publish(bus, model, 40, seconds=0.5)
            await until(lambda: fleet.replicas() == 3, "a burst starts all")
            await until(lambda: fleet.replicas() == 0, "none is left when all is done", seconds=60.0)
            assert await bus.backlog(model_topic(model), model_subscription(model)) == Backlog(0, 0, 0)
            await publish(bus, model, 1)
            await until(lambda: fleet.replicas() == 1, "a message starts one again")
    finally:
        fleet.kill()
    assert fleet.most == 3
    assert fleet.whys[0] == "1 requests wait and 0 run"
    assert "no work for 4 s" in fleet.whys
    assert 1 in fleet.backlogs


async def test_requests_are_kept_for_workers_that_are_yet_to_come(address: Address, bus: Bus, model: str) -> None:
    fleet = Recorded(member(model))
    async with scaled(address, fleet):
        await until(lambda: 0 in fleet.backlogs, "it has looked")
        await publish(bus, model, 5)
        assert (await bus.backlog(model_topic(model), model_subscription(model))).ready == 5
        await until(lambda: fleet.replicas() == 3, "what was published waits for workers")


async def test_delayed_messages_are_no_work(address: Address, bus: Bus, model: str) -> None:
    topic, subscription = model_topic(model), model_subscription(model)
    consumer = await bus.subscribe(topic, subscription, window=1)
    await publish(bus, model, 9, deliver_after=3600.0)
    # Pulsar learns that they are delayed when it reads them for a consumer.
    await until(lambda: _delayed(bus, model, 9), "they are known to be delayed")
    fleet = Recorded(member(model, replicas=1, down_seconds=1.0, idle_seconds=2.0))
    async with scaled(address, fleet):
        await until(lambda: fleet.replicas() == 0, "nothing is to be done now")
        await consumer.close()
        looks = _looks()
        await until(lambda: _looks() > looks + 2, "it has looked again")
    assert fleet.replicas() == 0
    assert set(fleet.backlogs) == {0}


async def _delayed(bus: Bus, model: str, count: int) -> bool:
    return (await bus.backlog(model_topic(model), model_subscription(model))).delayed == count


def _looks() -> float:
    return REGISTRY.get_sample_value("agentos_operator_looks_total", {"outcome": "seen"}) or 0.0


async def test_nodes_whose_turn_has_not_come_are_work(address: Address, bus: Bus, model: str) -> None:
    fleet = Recorded(member(model))
    told = FrontendInformation(sender=uuid.uuid4().hex, seconds=0.1, ready={model: 6})
    async with scaled(address, fleet):
        await until(lambda: 0 in fleet.backlogs, "it has looked")
        async with repeated(bus, SCALING_CHANNEL, messages.encode(told)):
            await until(lambda: fleet.replicas() == 3, "they are counted")
            await until(lambda: 6 in fleet.backlogs, "and told")


@contextlib.asynccontextmanager
async def repeated(bus: Bus, channel: str, frame: bytes) -> AsyncIterator[None]:
    """As coordinators do, since a frame may be lost."""

    async def send() -> None:
        while True:
            await bus.send(channel, frame)
            await asyncio.sleep(0.2)

    task = asyncio.create_task(send())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_the_planner_decides_while_it_orders(
    address: Address, bus: Bus, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orders, "FRESH_SECONDS", 3.0)
    fleet = Recorded(member(model, idle_seconds=1.0, down_seconds=1.0))
    order = Order(pipeline="p", workers={"detect": 2}, at=time.time(), planner="c", models={"detect": model})
    async with scaled(address, fleet):
        async with repeated(bus, SCALING_CHANNEL, messages.encode(order)):
            await until(lambda: fleet.replicas() == 2, "what was ordered")
        assert fleet.whys == ["planner, pipeline p, stage detect"]
        await until(lambda: fleet.replicas() == 0, "without orders the work decides")


async def test_before_some_go_it_is_said_which_are_busy(address: Address, bus: Bus, model: str) -> None:
    """Workers of the test's own tell what they hold when they are asked."""
    held = {f"a-deployment-x-{number}": 0 for number in range(3)}

    def notices() -> list[WorkerNotice]:
        return [
            WorkerNotice(node=f"{pod}-17", model=model, node_type="mock", slots=SLOTS, held=count)
            for pod, count in {**held, "another-deployment-y-1": 7}.items()
        ]

    sending: set[asyncio.Task[None]] = set()

    async def answer() -> None:
        for notice in notices():
            await bus.send(WORKERS_CHANNEL, messages.encode(notice))

    def hear(frame: bytes) -> None:
        if isinstance(decode_notice(frame), RollCall):
            task = asyncio.create_task(answer())
            sending.add(task)
            task.add_done_callback(sending.discard)

    listening = await bus.listen(WORKERS_CHANNEL, hear)
    fleet = Recorded(member(model, replicas=3, down_seconds=3.0, idle_seconds=60.0))
    async with scaled(address, fleet):
        await until(lambda: 0 in fleet.backlogs, "it has looked, and called the roll before")
        held["a-deployment-x-1"] = 2
        await until(lambda: fleet.replicas() == 1, "two are too many")
    await listening.close()
    await until(lambda: not sending, "all answers have left")
    assert fleet.held == {"a-deployment-x-0": 0, "a-deployment-x-1": 2, "a-deployment-x-2": 0}


async def test_gateways_hear_of_a_model_that_had_no_worker_yet(address: Address, bus: Bus, model: str) -> None:
    heard: list[Notice] = []
    listening = await bus.listen(WORKERS_CHANNEL, lambda frame: heard.append(decode_notice(frame)))
    async with scaled(address, Recorded(member(model))):
        await until(lambda: ModelNotice(model=model, node_type="remote") in heard, "they are told")
    await listening.close()


class Stubborn(Recorded):
    """Its cluster does not take what Pods hold."""

    async def costs(self, key: Key, held: Mapping[str, int]) -> None:
        raise ClusterError("the right to patch pods is missing", again=False)


async def test_where_that_cannot_be_said_some_go_all_the_same(
    embedded_bus: Bus, empty_database: str, model: str, caplog: pytest.LogCaptureFixture
) -> None:
    fleet = Stubborn(member(model, replicas=3, down_seconds=1.0))
    async with scaled({"bus_url": empty_database}, fleet):
        await until(lambda: fleet.replicas() == 1, "two are too many")
    assert "the right to patch pods is missing" in caplog.text


async def test_a_short_call_between_two_looks_keeps_its_worker(
    embedded_bus: Bus, empty_database: str, model: str
) -> None:
    fleet = Recorded(member(model, replicas=1, idle_seconds=3.0))
    async with scaled({"bus_url": empty_database}, fleet):
        for taken in range(1, 9):
            notice = WorkerNotice(node="w-1", model=model, node_type="mock", slots=SLOTS, taken=taken)
            await embedded_bus.send(WORKERS_CHANNEL, messages.encode(notice))
            await asyncio.sleep(0.6)
            assert fleet.replicas() == 1
        await until(lambda: fleet.replicas() == 0, "nothing is taken any more")


async def test_while_the_broker_is_away_nothing_is_scaled_and_that_is_said(
    embedded_bus: Bus, empty_database: str, model: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The connection cannot be had; then it answers nothing; then all is well."""
    fleet = Recorded(member(model, replicas=2, idle_seconds=0.0))
    calls = 0

    async def broker() -> Bus:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise BusUnavailable("nobody listens at 127.0.0.1:1")
        return await connect(bus_url=empty_database)

    async with scaled({}, fleet, broker=broker):
        await until(lambda: None in fleet.backlogs, "it is said")
        assert fleet.replicas() == 2
        await until(lambda: fleet.replicas() == 0, "then it is there")
    assert "AIModels stay as they are until the broker is there: nobody listens" in caplog.text


@pytest.mark.pulsar
async def test_a_connection_on_which_no_backlog_can_be_seen_is_made_anew(
    pulsar_address: Address, model: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(scaling, "LOST_SECONDS", 3.0)
    monkeypatch.setattr(scaling, "UNKNOWN_SECONDS", 0.5)
    fleet = Recorded(member(model, replicas=2, idle_seconds=0.0))
    admins = ["http://127.0.0.1:1"]

    async def broker() -> Bus:
        return await connect(**pulsar_address | ({"pulsar_admin_url": admins.pop()} if admins else {}))

    async with scaled({}, fleet, broker=broker):
        await until(lambda: None in fleet.backlogs, "it is said")
        assert fleet.replicas() == 2
        await until(lambda: fleet.replicas() == 0, "the next connection is well", seconds=60.0)
    assert "a backlog is not known now" in caplog.text
    assert "no backlog could be seen" in caplog.text


async def test_what_is_gone_leaves_the_metrics_and_is_not_looked_at(
    embedded_bus: Bus, empty_database: str, model: str
) -> None:
    other: Key = ("team", "b")
    fleet = Recorded(member(model), member(f"{model}-b", key=other, min=1))
    labels = {"namespace": "team", "aimodel": "b"}
    async with scaled({"bus_url": empty_database}, fleet):
        await until(lambda: REGISTRY.get_sample_value("agentos_operator_replicas_wanted", labels) == 1, "shown")
        assert REGISTRY.get_sample_value("agentos_operator_backlog", labels) == 0
        del fleet.members[other]
        await until(lambda: REGISTRY.get_sample_value("agentos_operator_backlog", labels) is None, "gone")
        assert REGISTRY.get_sample_value("agentos_operator_replicas_wanted", labels) is None
        left = {"namespace": "team", "aimodel": "a"}
        await until(
            lambda: REGISTRY.get_sample_value("agentos_operator_backlog", left) == 0, "the other one is there"
        )
    assert REGISTRY.get_sample_value("agentos_operator_backlog", left) is None
    assert REGISTRY.get_sample_value("agentos_operator_replicas_wanted", left) is None


async def test_those_that_others_scale_are_told_their_backlog_alone(
    embedded_bus: Bus, empty_database: str, model: str
) -> None:
    fleet = Recorded(Scaled(key=KEY, model=model, node_type="remote", scaling=None, slots=SLOTS, replicas=1, ready=1))
    await embedded_bus.ensure_subscription(model_topic(model), model_subscription(model))
    await publish(embedded_bus, model, 7)
    async with scaled({"bus_url": empty_database}, fleet):
        await until(lambda: 7 in fleet.backlogs, "it is told")
    assert fleet.whys == []
