"""Task graphs over HTTP, on both brokers: what a client asks for is what it gets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.e2e.tasking import Tasks, node, saying
from tests.fixtures.fleet import Fleet, Site, until

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("e2e-tasks")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(site: Site, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fleet]:
    directory: Path = tmp_path_factory.mktemp("fleet")
    with Fleet(site, directory) as fleet:
        prices = {"AGENTOS_PRICES": json.dumps({fleet.model: [1_000_000, 1_000_000]})}
        await fleet.start(fleet.coordinator(**prices), fleet.worker(MAX_PROCESS_NUM="8"))
        yield fleet


@pytest_asyncio.fixture(loop_scope="module")
async def tasks(fleet: Fleet) -> AsyncIterator[Tasks]:
    assert fleet.gateway is not None
    async with Tasks(fleet.gateway) as tasks:
        yield tasks


async def test_a_node_gets_what_the_nodes_before_it_have_said(fleet: Fleet, tasks: Tasks) -> None:
    plan = json.dumps({"steps": ["dig", "fill"], "title": "A hole"})
    nodes = [
        node("plan", fleet.model, body=saying(plan)),
        node("title", fleet.model, body=saying("${{ plan $.title }}, ${{ plan $.steps[1] }}")),
        node("last", fleet.model, "${{ title }}", depends_on=["plan"], body=saying("<${{ title }}>")),
    ]
    task = await tasks.submit({"nodes": nodes, "metadata": {"for": "a test"}, "user": "alice"})
    told = await tasks.ended(task)
    assert told["status"] == "completed"
    assert told["metadata"] == {"for": "a test"}
    assert told["user"] == "alice"
    assert told["progress"]["completed"] == told["progress"]["total"] == 3
    assert [each["status"] for each in told["nodes"]] == ["completed"] * 3
    assert told["usage"]["total_tokens"] > 0
    assert await tasks.output(task, "last") == "<A hole, fill>"


async def test_a_node_fans_out_over_a_list_and_joins(fleet: Fleet, tasks: Tasks) -> None:
    nodes = [
        node("list", fleet.model, body=saying(json.dumps([{"n": "one"}, {"n": "two"}, {"n": "three"}]))),
        node("each", fleet.model, for_each="${{ list $[*] }}", body=saying("${{ index }}: ${{ item $.n }}")),
        node("join", fleet.model, body=saying("<${{ each }}>")),
    ]
    task = await tasks.submit({"nodes": nodes})
    told = await tasks.ended(task)
    assert told["error"] is None
    assert told["status"] == "completed"
    assert await tasks.output(task, "join") == "<0: one\n\n1: two\n\n2: three>"
    assert await tasks.output(task, "each[1]") == "1: two"


async def test_nodes_are_added_while_it_runs(fleet: Fleet, tasks: Tasks) -> None:
    task = await tasks.submit({"nodes": [node("first", fleet.model, body=saying("seen"))], "open": True})
    await until(lambda: completed(tasks, task, 1), "the first node has completed")
    seen = await tasks.ask("GET", f"/tasks/{task}")
    assert seen.body["status"] == "running"
    more = {"nodes": [node("second", fleet.model, body=saying("after ${{ first }}"))]}
    etag = seen.headers["Etag"]
    added = await tasks.ask("PATCH", f"/tasks/{task}", more, if_match=etag)
    assert added.status == 200, added
    assert added.body["epoch"] > seen.body["epoch"]
    stale = await tasks.ask("PATCH", f"/tasks/{task}", {"open": False}, if_match=etag)
    assert (stale.status, stale.body["error"]["code"]) == (412, "epoch_stale")
    again = await tasks.ask("PATCH", f"/tasks/{task}", more)
    assert (again.status, again.body["epoch"]) == (200, added.body["epoch"])
    await until(lambda: completed(tasks, task, 2), "the second node has completed")
    closed = await tasks.ask("PATCH", f"/tasks/{task}", {"open": False})
    assert closed.status == 200
    assert (await tasks.ended(task))["status"] == "completed"
    assert await tasks.output(task, "second") == "after seen"
    late = await tasks.ask("PATCH", f"/tasks/{task}", {"nodes": [node("third", fleet.model)]})
    assert (late.status, late.body["error"]["code"]) == (409, "task_closed")


async def completed(tasks: Tasks, task: str, count: int) -> bool:
    progress = (await tasks.read(task))["progress"]
    return bool(progress["completed"] == count)


async def test_an_idempotency_key_makes_a_repeat_the_same_task(fleet: Fleet, tasks: Tasks) -> None:
    description = {"nodes": [node("a", fleet.model)]}
    first = await tasks.ask("POST", "/tasks", description, idempotency_key="once")
    again = await tasks.ask("POST", "/tasks", description, idempotency_key="once")
    other = await tasks.ask("POST", "/tasks", {"nodes": [node("b", fleet.model)]}, idempotency_key="once")
    assert (first.status, again.status, other.status) == (202, 200, 422)
    assert first.body["id"] == again.body["id"]
    assert other.body["error"]["code"] == "idempotency_key_reused"


async def test_events_tell_everything_once_and_go_on_where_they_were_left(fleet: Fleet, tasks: Tasks) -> None:
    nodes = [node("a", fleet.model), node("b", fleet.model, depends_on=["a"])]
    task = await tasks.submit({"nodes": nodes})
    told = [event async for event in tasks.events(task)]
    names = [(name, data.get("node")) for _, name, data in told]
    assert names == [
        ("node.running", "a"),
        ("node.completed", "a"),
        ("node.running", "b"),
        ("node.completed", "b"),
        ("task.completed", None),
    ]
    for number, (cursor, _, _) in enumerate(told[:-1]):
        assert [event async for event in tasks.events(task, cursor)] == told[number + 1 :]
    wrong = await tasks.ask("GET", f"/tasks/{task}/events", last_event_id="nonsense")
    assert (wrong.status, wrong.body["error"]["param"]) == (400, "Last-Event-ID")


async def test_what_is_cancelled_does_not_start_and_what_runs_is_stopped(fleet: Fleet, tasks: Tasks) -> None:
    nodes = [node("long", fleet.model, body=saying("late", 600.0)), node("never", fleet.model, depends_on=["long"])]
    task = await tasks.submit({"nodes": nodes})
    await until(lambda: running(tasks, task), "the first node runs")
    cancelled = await tasks.ask("DELETE", f"/tasks/{task}")
    assert (cancelled.status, cancelled.body["status"]) == (200, "cancelled")
    number = int(task.removeprefix("task_"))
    # In the ledger only if its call had begun: it may have been stopped before.
    query = "select outcome from progress where task_id = $1"
    rows = await until(lambda: fleet.rows(query, number), "it was stopped")
    assert [row["outcome"] for row in rows] == ["cancelled"]
    assert (await tasks.ask("DELETE", f"/tasks/{task}")).body["status"] == "cancelled"
    assert not await fleet.rows("select from dispatches where task_id = $1 and node_id = 'never'", number)


async def running(tasks: Tasks, task: str) -> bool:
    return bool((await tasks.read(task))["progress"]["running"])


async def test_a_failed_node_is_tried_again_and_fails_its_task_by_name(fleet: Fleet, tasks: Tasks) -> None:
    bad = {"agentos_mock": {"delay_seconds": "long"}}
    nodes = [node("bad", fleet.model, retries=2, body=bad), node("after", fleet.model, depends_on=["bad"])]
    task = await tasks.submit({"nodes": nodes})
    told = await tasks.ended(task)
    assert told["status"] == "failed"
    assert "bad" in told["error"]["message"]
    assert told["progress"]["failed"] == told["progress"]["skipped"] == 1
    assert [each["attempts"] for each in told["nodes"]] == [3, 0]


async def test_a_reference_that_leads_nowhere_fails_its_node_by_name(fleet: Fleet, tasks: Tasks) -> None:
    nodes = [node("text", fleet.model, body=saying("no JSON")), node("reads", fleet.model, "${{ text $.a }}")]
    told = await tasks.ended(await tasks.submit({"nodes": nodes}))
    assert told["status"] == "failed"
    assert told["nodes"][1]["error"]["code"] == "reference_failed"


async def test_a_deadline_and_a_budget_end_a_task_by_name(fleet: Fleet, tasks: Tasks) -> None:
    slow = {"nodes": [node("slow", fleet.model, body=saying("late", 600.0))], "deadline_seconds": 1}
    chain = [node("n0", fleet.model, body=saying("one two three"))]
    chain += [node(f"n{i}", fleet.model, f"${{{{ n{i - 1} }}}}", body=saying("one two three")) for i in range(1, 9)]
    late = await tasks.submit(slow)
    spent = await tasks.submit({"nodes": chain, "budget": {"tokens": 9}})
    dear = await tasks.submit({"nodes": chain, "budget": {"money": 9}})
    assert (await tasks.ended(late))["status"] == "expired"
    for task in (spent, dear):
        told = await tasks.ended(task)
        assert (told["status"], told["error"]["code"]) == ("failed", "budget_exceeded")
        assert 0 < told["progress"]["completed"] < len(chain)


async def test_inputs_of_any_size_travel_as_documents(fleet: Fleet, tasks: Tasks) -> None:
    large = "x" * (3 << 20)
    kept = await tasks.ask("POST", "/documents", large)
    assert (kept.status, kept.body["bytes"]) == (201, len(large))
    number = kept.body["id"].removeprefix("doc_")
    nodes = [node("echo", fleet.model, body=saying(f"${{{{ document:{number} }}}}"))]
    task = await tasks.submit({"nodes": nodes})
    assert (await tasks.ended(task))["status"] == "completed"
    assert await tasks.output(task, "echo") == large
    assert (await tasks.ask("GET", f"/documents/{kept.body['id']}")).body == large
    assert (await tasks.ask("DELETE", f"/documents/{kept.body['id']}")).status == 204
    assert (await tasks.ask("GET", f"/documents/{kept.body['id']}")).status == 404


async def test_tasks_are_listed_by_page(fleet: Fleet, tasks: Tasks) -> None:
    submitted = [await tasks.submit({"nodes": [node("a", fleet.model)], "user": "lister"}) for _ in range(5)]
    for task in submitted:
        await tasks.ended(task)
    first = (await tasks.ask("GET", "/tasks?user=lister&limit=3")).body
    rest = (await tasks.ask("GET", f"/tasks?user=lister&limit=3&after={first['last_id']}")).body
    assert first["has_more"]
    assert not rest["has_more"]
    assert [each["id"] for each in (*first["data"], *rest["data"])] == submitted[::-1]
    assert (await tasks.ask("GET", "/tasks?user=lister&status=failed")).body["data"] == []


async def test_users_have_weights(fleet: Fleet, tasks: Tasks) -> None:
    await tasks.submit({"nodes": [node("a", fleet.model)], "user": "weighty"})
    assert (await tasks.ask("PUT", "/users/weighty", {"weight": 2.5})).body["weight"] == 2.5
    users = (await tasks.ask("GET", "/users")).body["data"]
    assert [user["weight"] for user in users if user["name"] == "weighty"] == [2.5]
    refused = await tasks.ask("PUT", "/users/weighty", {"weight": 0})
    assert (refused.status, refused.body["error"]["param"]) == (400, "/weight")


WRONG: list[tuple[Any, str]] = [
    (
        {"nodes": [{"id": "a", "model": "MODEL", "body": {"messages": [{}]}, "depends_on": ["b"]}]},
        "/nodes/0/depends_on/0",
    ),
    ({"nodes": [{"id": "a", "model": "nobody's", "body": {"messages": [{}]}}]}, "/nodes/0/model"),
    ({"nodes": [{"id": "a", "model": "MODEL", "body": {"messages": [{}]}, "retry": 1}]}, "/nodes/0/retry"),
    ({"nodes": [], "priority": "high"}, "/priority"),
]


@pytest.mark.parametrize(("description", "pointer"), WRONG)
async def test_a_wrong_graph_is_refused_with_the_place(
    fleet: Fleet, tasks: Tasks, description: Any, pointer: str
) -> None:
    text = json.dumps(description).replace('"MODEL"', json.dumps(fleet.model))
    refused = await tasks.ask("POST", "/tasks", text)
    assert refused.status == 400
    assert refused.body["error"]["param"] == pointer
    assert refused.body["error"]["message"]


@pytest.mark.parametrize("path", ["/tasks/task_999999999", "/tasks/12", "/tasks/task_x/events", "/documents/doc_0"])
async def test_what_does_not_exist_is_said_so(tasks: Tasks, path: str) -> None:
    reply = await tasks.ask("GET", path)
    assert (reply.status, reply.body["error"]["code"]) == (404, "not_found")


async def test_many_tasks_at_once_all_end(fleet: Fleet, tasks: Tasks) -> None:
    nodes = [node("top", fleet.model)]
    nodes += [node(f"mid{i}", fleet.model, depends_on=["top"]) for i in range(5)]
    nodes += [node("end", fleet.model, depends_on=[f"mid{i}" for i in range(5)])]
    submitted = await asyncio.gather(*(tasks.submit({"nodes": nodes}) for _ in range(30)))
    ends = await asyncio.gather(*(tasks.ended(task) for task in submitted))
    assert {end["status"] for end in ends} == {"completed"}
    assert {end["progress"]["completed"] for end in ends} == {7}
