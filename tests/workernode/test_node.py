"""What a node takes: by its upstream's limits and health, and by what it suspects."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import msgspec
import pytest
from pydantic import SecretStr

from bus.messages import NodeEvent, ResultMessage
from bus.nodes import pod_of
from bus.port import REASON_PROPERTY, Bus
from tests.double.scripts import NO_QUOTA, Step, refuse
from tests.double.server import Provider
from tests.workernode.road import PATIENCE, RESULTS, Road
from workernode.backends import make_backend
from workernode.settings import WorkerSettings

QUESTION = {"model": "m", "messages": [{"role": "user", "content": "At what temperature does water boil?"}]}


@pytest.fixture
async def road(embedded_bus: Bus, provider: Provider) -> AsyncIterator[Road]:
    settings = WorkerSettings(
        node_type="remote",
        model_name="m",
        bus_url="x",
        res_topic_name=RESULTS,
        api_url=provider.url,
        api_key=SecretStr("right"),
        max_process_num=4,
        grace_seconds=5,
        node_name="gpt-deployment-7-x",
    )
    backend = make_backend(settings)
    await backend.start()
    road = Road(embedded_bus, backend, settings)
    await road.start()
    living = asyncio.create_task(road.live())
    await road.present()
    yield road
    road.stop.signal()
    await living
    await backend.close()


async def ask(road: Road, count: int) -> None:
    for number in range(count):
        await road.send(request_id=f"r{number}", data=QUESTION)


async def events(road: Road, completed: int) -> tuple[list[ResultMessage], list[NodeEvent]]:
    """Everything told until so many requests are completed, and the recovery after an unavailability."""
    billed: list[ResultMessage] = []
    told: list[NodeEvent] = []
    while sum(each.outcome == "completed" for each in billed) < completed or (
        told and told[-1].event == "unavailable"
    ):
        event = await road.event()
        if isinstance(event, NodeEvent):
            told.append(event)
        else:
            billed.append(event)
    return billed, told


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (refuse(401, "invalid_api_key"), "AuthenticationError"),
        (NO_QUOTA, "APIQuotaExceededError"),
    ],
)
async def test_a_fault_of_the_node_is_told_once_and_no_request_is_failed_for_it(
    road: Road, provider: Provider, fault: Step, reason: str
) -> None:
    provider.script(*[fault] * 3)
    await ask(road, 12)
    billed, told = await events(road, 12)
    assert [(each.event, each.reason) for each in told] == [("unavailable", reason), ("recovered", reason)]
    assert {each.outcome for each in billed} == {"completed", "retried"}
    assert len(provider.calls) == 12 + 3


async def test_a_worker_is_called_as_its_pod(road: Road) -> None:
    await ask(road, 1)
    [billed], _ = await events(road, 1)
    assert pod_of(billed.node) == "gpt-deployment-7-x"


async def test_an_unavailable_node_leaves_messages_to_others(road: Road, provider: Provider) -> None:
    provider.key = "another"
    await ask(road, 3)
    while not isinstance(event := await road.event(), NodeEvent):
        pass
    assert event.event == "unavailable"
    await road.settled()
    backlog = await road.backlog()
    assert backlog.ready + backlog.delayed == 3
    provider.key = "right"
    billed, _ = await events(road, 3)
    assert sum(each.outcome == "failed" for each in billed) == 0


@pytest.fixture
def another_key(provider: Provider) -> None:
    """Before the node is there."""
    provider.key = "another"


async def test_a_key_that_is_refused_is_told_of_before_a_request_meets_it(
    another_key: None, road: Road, provider: Provider
) -> None:
    event = await road.event()
    assert isinstance(event, NodeEvent)
    assert (event.event, event.reason) == ("unavailable", "AuthenticationError")
    await ask(road, 1)
    provider.key = "right"
    billed, [recovered] = await events(road, 1)
    assert ([each.outcome for each in billed], recovered.event) == (["completed"], "recovered")


async def test_a_refusal_that_will_pass_pauses_the_node_and_fails_nobody(road: Road, provider: Provider) -> None:
    provider.script(refuse(429, "rate_limit_exceeded", retry_after_ms="1500"))
    await ask(road, 1)
    await provider.call(0)
    await ask(road, 4)
    started = asyncio.get_running_loop().time()
    billed, told = await events(road, 5)
    assert told == []
    assert asyncio.get_running_loop().time() - started > 1.0
    assert [each.attempt for each in billed] == [1] * 6


async def test_a_bad_request_poisons_no_other(road: Road, provider: Provider) -> None:
    provider.script(*[refuse(400, "invalid_request_error")] * 20)
    await ask(road, 20)
    outcomes = [(await road.result()).outcome for _ in range(20)]
    assert outcomes == ["failed"] * 20
    await ask(road, 1)
    assert (await road.result()).outcome == "completed"


async def test_an_outage_stops_the_calls_until_a_probe_is_answered(road: Road, provider: Provider) -> None:
    provider.script(*[refuse(500)] * 6)
    await ask(road, 20)
    billed, told = await events(road, 20)
    assert told == [], "nobody is woken for a short outage"
    assert all(each.outcome in ("completed", "retried") for each in billed)


async def test_a_request_that_took_three_workers_down_is_quarantined(
    road: Road, provider: Provider, empty_database: str
) -> None:
    provider.delay = 0.5
    await ask(road, 4)
    await provider.call(3)
    await road.send(request_id="poison", data=QUESTION)
    connection = await asyncpg.connect(empty_database)
    await connection.execute("update agentos_bus.messages set crashes = 3 where body like '%poison%'")
    await connection.close()
    results = {result.request_id: result for result in [await road.result() for _ in range(5)]}
    assert results["poison"].outcome == "quarantined"
    assert not results["poison"].reached_provider
    letter = await road.dead_letter()
    assert "ended 3 times" in letter.properties[REASON_PROPERTY]
    frames = [await road.frame() for _ in range(5)]
    (told,) = [frame for frame in frames if frame.request_id == "poison"]
    assert msgspec.json.decode(told.data)["error"]["code"] == "request_quarantined"


async def test_a_refused_endpoint_costs_no_call(road: Road, provider: Provider) -> None:
    await road.send(request_id="r", data=QUESTION, reply_channel=None, endpoint="http://169.254.169.254/latest")
    result = await road.result()
    assert (result.outcome, result.status, result.reached_provider) == ("failed", 400, False)
    assert result.error is not None
    assert result.error["code"] == "endpoint_refused"
    assert provider.calls == []
    async with asyncio.timeout(PATIENCE):
        await road.settled()
