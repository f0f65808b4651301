"""The Python client and the testing client on a fleet, on both brokers."""

from __future__ import annotations

import asyncio
import json
import random
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.e2e.cutting import Cutter
from tests.e2e.later import pulsar_later
from tests.fixtures.fleet import Fleet, Site, until
from workload import sending
from workload.client import Client
from workload.door import Lost
from workload.errors import GatewayRefused, TaskFailed
from workload.graph import ITEM, Graph
from workload.senders import chat

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("e2e-clients")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(site: Site, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fleet]:
    directory: Path = tmp_path_factory.mktemp("fleet")
    with Fleet(site, directory) as fleet:
        await fleet.start(fleet.coordinator(), fleet.worker())
        yield fleet


@pytest_asyncio.fixture(loop_scope="module")
async def client(fleet: Fleet) -> AsyncIterator[Client]:
    async with Client(fleet.url) as client:
        yield client


def says(text: str) -> dict[str, Any]:
    """What makes the mock say so."""
    return {"agentos_mock": {"text": text}}


async def test_a_graphs_outputs_are_its_result(fleet: Fleet, client: Client) -> None:
    graph = Graph(user="alice")
    plan = graph.node("plan", model=fleet.model, prompt="Plan.", **says(json.dumps({"steps": ["dig", "fill"]})))
    graph.node("none", model=fleet.model, for_each=plan.json("$.steps[5:]"), prompt=ITEM)
    step = graph.node("step", model=fleet.model, for_each=plan.json("$.steps"), prompt="x", **says(f"I {ITEM}."))
    graph.node("sum", model=fleet.model, prompt="Sum up.", **says(f"<{step}>"))
    task = await client.submit(graph)
    assert await task.result("sum") == {"sum": "<I dig.\n\nI fill.>"}
    whole = await client.task(task.id).result()
    assert whole == {
        "plan": '{"steps": ["dig", "fill"]}',
        "none": [],
        "step": ["I dig.", "I fill."],
        "sum": "<I dig.\n\nI fill.>",
    }
    assert (await task.node("step[1]"))["output"] == "I fill."
    assert [each["id"] for each in await client.tasks(user="alice", status="completed")] == [task.id]


async def test_a_task_that_does_not_complete_is_told_by_name(fleet: Fleet, client: Client) -> None:
    graph = Graph(on_failure="continue")
    graph.node("good", model=fleet.model, prompt="x", **says("fine"))
    graph.node("bad", model=fleet.model, prompt="a secret prompt", agentos_mock={"bytes": -1})
    task = await client.submit(graph)
    with pytest.raises(TaskFailed, match=f"{task.id} is failed") as failed:
        await task.result()
    assert "secret" not in str(failed.value)
    assert failed.value.status == "failed"
    assert await task.outputs(failed.value.task) == {"good": "fine"}


async def test_a_wrong_graph_is_refused_with_the_place(fleet: Fleet, client: Client) -> None:
    graph = Graph()
    graph.node("a", model=fleet.model, prompt="${{ nobody }}")
    with pytest.raises(GatewayRefused) as refused:
        await client.submit(graph)
    assert (refused.value.status, refused.value.error["param"]) == (400, "/nodes/0/body/messages/0/content")


async def test_the_same_key_is_the_same_task(fleet: Fleet, client: Client) -> None:
    graph = Graph()
    graph.node("a", model=fleet.model, prompt="x")
    first, again, other = (
        await client.submit(graph, key="k"),
        await client.submit(graph, key="k"),
        await client.submit(graph),
    )
    assert first.id == again.id != other.id


async def test_nodes_are_added_to_a_task_that_is_open(fleet: Fleet, client: Client) -> None:
    graph = Graph(open=True)
    seen = graph.node("a", model=fleet.model, prompt="x", **says("1"))
    task = await client.submit(graph)
    events = task.events()
    async for event in events:
        if event.name == "node.completed":
            break
    more = Graph()
    more.node("b", model=fleet.model, prompt="x", **says(f"{seen} and 2"))
    await task.add(more)
    assert (await task.add(more, close=True))["open"] is False
    assert [event.node async for event in events if event.name == "node.completed"] == ["b"]
    assert await task.result() == {"a": "1", "b": "1 and 2"}
    # As after a lost answer: what was added before is no change, although the task has ended.
    assert (await task.add(more, close=True))["status"] == "completed"
    late = Graph()
    late.node("c", model=fleet.model, prompt="x")
    with pytest.raises(GatewayRefused) as refused:
        await task.add(late)
    assert refused.value.code == "task_closed"


async def test_a_task_is_cancelled(fleet: Fleet, client: Client) -> None:
    graph = Graph()
    slow = graph.node("slow", model=fleet.model, prompt="x", agentos_mock={"delay_seconds": 1000})
    graph.node("never", model=fleet.model, prompt=f"{slow}")
    task = await client.submit(graph)
    async for event in task.events():
        if event.name == "node.running":
            assert (await task.cancel())["status"] == "cancelled"
    assert event.name == "task.cancelled"
    with pytest.raises(TaskFailed) as failed:
        await task.ended()
    assert failed.value.status == "cancelled"
    assert (await task.cancel())["status"] == "cancelled"


async def test_events_go_on_after_any_of_them(fleet: Fleet, client: Client) -> None:
    graph = Graph()
    for number in range(3):
        graph.node(f"n{number}", model=fleet.model, prompt="x")
    task = await client.submit(graph)
    told = [event async for event in task.events()]
    assert len(told) == 7
    for number, event in enumerate(told):
        assert [later async for later in task.events(event.cursor)] == told[number + 1 :]


async def test_data_of_any_size_travel_as_documents(fleet: Fleet, client: Client) -> None:
    text = "å${{ x" * 1_000_000
    graph = Graph()
    graph.node("a", model=fleet.model, prompt="x", **says(str(await client.upload(text))))
    assert (await (await client.submit(graph)).result())["a"] == text


async def test_tasks_are_listed_over_many_pages(fleet: Fleet, client: Client) -> None:
    graph = Graph(user="lister", open=True)
    submitted = [(await client.submit(graph)).id for _ in range(5)]
    found = [task["id"] for task in await client.tasks(user="lister", limit=3)]
    assert found == submitted[:1:-1]
    for id in submitted:
        await client.task(id).cancel()
    assert len(await client.tasks(user="lister", limit=1000)) == 5


@pytest.mark.parametrize("stream", [False, True])
async def test_a_chat_of_a_load_fails_by_name(fleet: Fleet, stream: bool) -> None:
    heard: list[None] = []

    def body(**mock: Any) -> dict[str, Any]:
        return {"model": fleet.model, "stream": stream, **CHAT, "agentos_mock": mock}

    async with Cutter(fleet.url) as cutter:
        async with Client(cutter.url) as client:
            await chat(client.door, body(words=5), lambda: heard.append(None))
            assert len(heard) == (5 if stream else 0)
            with pytest.raises(GatewayRefused) as refused:
                await chat(client.door, body(words=-1), lambda: heard.append(None))
            assert refused.value.code == "invalid_agentos_mock"
        await cutter.idle()
        cutter.budgets = [300]
        async with Client(cutter.url) as client:
            with pytest.raises(Lost) as lost:
                await chat(client.door, body(words=500), lambda: heard.append(None))
        assert lost.value.code == "connection_lost"
        assert cutter.cut == 1


CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "x"}], "agentos_mock": {"text": "fine"}}


async def test_the_testing_client_tells_responses_and_latencies(fleet: Fleet) -> None:
    chat = {"model": fleet.model, **CHAT}
    bad = {"model": fleet.model, **CHAT, "agentos_mock": {"bytes": -1}}
    graph = Graph()
    graph.node("a", model=fleet.model, prompt="x", **says("a graph"))
    response, latency = await sending.send_req(fleet.url, chat, poll_seconds=0.05)
    assert response["choices"][0]["message"]["content"] == "fine"
    assert latency > 0
    with pytest.raises(TaskFailed):
        await sending.send_req(fleet.url, bad, poll_seconds=0.05)
    responses, latencies = await sending.send_all(fleet.url, [graph, bad, chat], poll_seconds=0.05)
    assert responses[0] == {"a": "a graph"}
    assert isinstance(responses[1], TaskFailed)
    assert responses[2] == {**response, **{name: responses[2][name] for name in ("id", "created")}}  # type: ignore[index]
    assert len(latencies) == 3


async def test_the_testing_client_pauses_between_bursts_but_not_for_answers(fleet: Fleet) -> None:
    slow = {"model": fleet.model, **CHAT, "agentos_mock": {"delay_seconds": 1}}
    loop = asyncio.get_running_loop()
    began = loop.time()
    one, many, some = await asyncio.gather(
        sending.send_in_interval(fleet.url, [slow] * 3, (0.2, 0.3), poll_seconds=0.05),
        sending.send_batch_interval(fleet.url, [slow] * 5, (0.2, 0.3), 2, poll_seconds=0.05),
        sending.send_dynamic_batch_interval(fleet.url, [slow] * 5, (0.2, 0.3), (1, 3), poll_seconds=0.05),
    )
    assert loop.time() - began >= 1.4
    assert [len(each.responses) for each in (one, many, some)] == [3, 5, 5]
    assert all(latency >= 1 for each in (one, many, some) for latency in each.latencies)


async def test_an_address_that_does_not_answer_is_left_once_by_all(fleet: Fleet, unused_tcp_port: int) -> None:
    async with Client(f"http://127.0.0.1:{unused_tcp_port},{fleet.url}") as client:
        found = await asyncio.gather(*(client.models() for _ in range(20)))
        assert client.door.urls[0] == fleet.url
    assert all(fleet.model in models for models in found)


async def test_a_lost_answer_is_asked_for_again_and_is_one_task(fleet: Fleet) -> None:
    before = await fleet.counts()
    graph = Graph(open=True)
    graph.node("a", model=fleet.model, prompt="x")
    more = Graph()
    more.node("b", model=fleet.model, prompt="x")
    async with Cutter(fleet.url) as cutter, Client(cutter.url) as client:
        await client.models()
        cutter.budgets = [0, 20]
        task = await client.submit(graph)
        cutter.budgets = [0, 20]
        await task.add(more, close=True)
        assert cutter.cut == 4
        assert set(await task.result()) == {"a", "b"}
    assert (await fleet.counts()).since(before).tasks == 1


async def test_a_result_is_had_though_no_stream_of_events_comes_through(fleet: Fleet) -> None:
    graph = Graph()
    graph.node("a", model=fleet.model, prompt="x", agentos_mock={"delay_seconds": 0.5, "text": "here"})
    async with Cutter(fleet.url) as cutter, Client(cutter.url) as client:
        cutter.refused = b"/events"
        assert await (await client.submit(graph)).result("a") == {"a": "here"}
        assert cutter.cut > 1


@pytest.mark.parametrize("seed", range(4))
async def test_events_of_a_stream_that_is_cut_come_once_each(fleet: Fleet, seed: int) -> None:
    graph = Graph()
    nodes = [graph.node(f"n{number}", model=fleet.model, prompt="x") for number in range(20)]
    graph.node("last", model=fleet.model, prompt="".join(map(str, nodes)))
    budgets = [random.Random(seed).randrange(2000) for _ in range(5)]
    async with Cutter(fleet.url) as cutter, Client(cutter.url) as client:
        await client.models()
        task = await client.submit(graph)
        cutter.budgets = list(budgets)
        told = [event async for event in task.events()]
        assert cutter.cut > 0
        cutter.budgets = []
        assert told == [event async for event in task.events()]
    assert len(told) == 2 * 21 + 1, budgets


@pulsar_later("own_fleet")
@pytest.mark.kills
async def test_a_client_goes_on_at_another_gateway(own_fleet: Fleet) -> None:
    first, second = own_fleet.coordinator(), own_fleet.coordinator()
    worker = own_fleet.worker()
    await own_fleet.start(first, second, worker)
    graph = Graph()
    before = graph.node("n0", model=own_fleet.model, prompt="x")
    for number in range(1, 12):
        mock = {"sleep_seconds": 0.2}
        before = graph.node(f"n{number}", model=own_fleet.model, prompt=f"{before}", agentos_mock=mock)
    told = []
    async with Client(f"{first.url},{second.url}") as client:
        task = await client.submit(graph)
        async for event in task.events():
            told.append((event.name, event.node))
            if (event.name, event.node) == ("node.running", "n3"):
                first.kill()
        assert len(await task.result()) == 12
    assert len(set(told)) == len(told) == 25


@pulsar_later("own_fleet")
@pytest.mark.kills
async def test_a_client_waits_for_its_only_gateway_to_come_back(own_fleet: Fleet) -> None:
    gateway, worker = own_fleet.coordinator(), own_fleet.worker()
    await own_fleet.start(gateway, worker)
    port = gateway.url.rpartition(":")[2]
    anew = own_fleet.coordinator(PORT=port)
    graph = Graph()
    graph.node("a", model=own_fleet.model, prompt="x", agentos_mock={"delay_seconds": 3, "text": "here"})
    async with Client(gateway.url, patience=60) as client:
        task = await client.submit(graph)
        waiting = asyncio.create_task(task.result())
        await until(lambda: started(own_fleet), "the node is dispatched")
        gateway.send(signal.SIGKILL)
        await gateway.ended()
        again = asyncio.create_task(client.submit(graph, key="while it is gone"))
        anew.start()
        assert await waiting == {"a": "here"}
        assert (await (await again).result())["a"] == "here"


async def started(fleet: Fleet) -> bool:
    return bool(await fleet.rows("select from dispatches"))
