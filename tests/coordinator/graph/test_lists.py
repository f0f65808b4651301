"""Nodes that are called once for each item of a list."""

from __future__ import annotations

import json

import pytest

from coordinator.graph.graph import Graph, NodeStatus
from coordinator.graph.inputs import MAX_INSTANCES
from store import TaskState
from tests.coordinator.graph.sketches import (
    answer,
    contents,
    description,
    graph,
    node,
    planned,
    result,
    row,
    run,
    statuses,
)


def test_a_node_is_called_once_for_each_item_of_a_list_and_joined_again() -> None:
    made = planned(body="${{ item $.n }} of ${{ index }}")
    assert (made.wanted_lists(), made.list_sources("map"), made.size) == (["map"], [1], 3)
    made.expand("map", contents({"n": "x"}, {"n": 5}))
    assert (made.wanted_lists(), made.take_ready(), made.size) == ([], ["map[0]", "map[1]"], 4)
    bodies = [made.body(each, contents()) for each in ("map[0]", "map[1]")]
    assert [body["messages"][0]["content"] for body in bodies] == ["x of 0", "5 of 1"]
    made.settle("map[1]", result(document=3))
    assert made.take_ready() == []
    made.settle("map[0]", result(document=2))
    assert made.take_ready() == ["sum"]
    assert sorted(made.documents("sum")) == [2, 3]
    assert made.body("sum", contents())["messages"][0]["content"] == "All: A\n\nB"
    made.expand("map", contents("again"))
    assert made.size == 4


def test_an_empty_list_is_completed_at_once() -> None:
    made = planned()
    made.expand("map", contents())
    assert statuses(made)["map"] is NodeStatus.COMPLETED
    assert (made.wanted_lists(), made.take_ready(), made.documents("sum")) == ([], ["sum"], [])
    assert made.body("sum", {})["messages"][0]["content"] == "All: "


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("no JSON", "not a JSON text"),
        ("{}", "finds nothing"),
        ('{"steps": "text"}', "not a list"),
        ('{"steps": {"a": 1}}', "not a list"),
        pytest.param(json.dumps({"steps": [0] * (MAX_INSTANCES + 1)}), "at most", id="long"),
        (None, "no document doc_1"),
    ],
)
def test_what_is_no_list_fails_the_node_by_name(text: str | None, reason: str) -> None:
    made = planned(retries=5)
    made.expand("map", {} if text is None else {1: answer(text)})
    assert statuses(made)["map"] is NodeStatus.FAILED
    assert made.state is TaskState.FAILED
    assert made.error is not None
    assert (made.error["param"], made.error["code"]) == ("map", "reference_failed")
    assert reason in made.error["message"]


@pytest.mark.parametrize(
    ("path", "text", "count"),
    [
        ("", "[1, 2, 3]", 3),
        (" $", "[1, 2, 3]", 3),
        (" $.a[*]", '{"a": [7]}', 1),
        (" $.a[*]", '{"a": []}', 0),
        (".response $.choices", "x", 1),
    ],
)
def test_where_a_list_may_stand(path: str, text: str, count: int) -> None:
    made = planned(path=path)
    made.expand("map", {1: answer(text)})
    assert len([each for each in statuses(made) if each.startswith("map[")]) == count
    assert made.state is None


def test_lists_of_outputs_of_lists() -> None:
    made = graph(
        node("plan"),
        node("one", for_each="${{ plan }}"),
        node("two", "${{ item }}", for_each="${{ one }}"),
        node("three", "${{ item }}", for_each="${{ one $.n }}"),
    )
    made.settle("plan", result(document=1))
    made.expand("one", {1: answer("[1, 2]")})
    outputs = {1: answer("[1, 2]"), 2: answer('{"n": 8}'), 3: answer('{"n": 9}')}
    made.settle("one[1]", result(document=3))
    made.settle("one[0]", result(document=2))
    assert made.wanted_lists() == ["two", "three"]
    for wanted in made.wanted_lists():
        assert sorted(made.list_sources(wanted)) == [2, 3]
        made.expand(wanted, outputs)
    said = [
        made.body(each, outputs)["messages"][0]["content"] for each in ("two[0]", "two[1]", "three[0]", "three[1]")
    ]
    assert said == ['{"n": 8}', '{"n": 9}', 8, 9]


def test_one_instance_that_fails_loses_the_node_and_spares_its_siblings() -> None:
    made = graph(
        node("plan"), node("map", for_each="${{ plan }}", retries=1), node("sum", "${{ map }}"), on_failure="continue"
    )
    made.settle("plan", result(document=1))
    made.expand("map", {1: answer("[1, 2]")})
    run(made, "map[0]", outcome="failed")
    assert statuses(made)["sum"] is NodeStatus.WAITING
    run(made, "map[0]", outcome="failed")
    assert statuses(made) == {
        "plan": NodeStatus.COMPLETED,
        "map[0]": NodeStatus.FAILED,
        "map[1]": NodeStatus.READY,
        "sum": NodeStatus.SKIPPED,
    }
    assert made.state is None
    run(made, "map[1]")
    assert made.state is TaskState.FAILED


def test_a_takeover_finds_instances_before_their_list() -> None:
    standing = planned().description
    rows = [
        row("map[1]"),
        row("sum", attempt=2),
        row("map[0]", "completed", document=2),
        row("plan", "completed", document=1),
        row("gone[5]", "completed"),
        row("gone"),
    ]
    made = Graph(standing)
    made.restore(rows)
    assert set(made.running()) == {"map[1]", "sum"}
    assert made.take_ready() == []
    made.expand("map", contents("x", "y", "z"))
    assert (set(made.running()), made.take_ready()) == ({"map[1]", "sum"}, ["map[2]"])
    assert made.attempt("sum") == 2
    made.settle("map[1]", result(document=3))
    run(made, "map[2]")
    assert made.take_ready() == []
    made.settle("sum", result())
    assert made.state is TaskState.COMPLETED


def test_a_retry_waits_until_the_new_owner_knows_what_it_needs() -> None:
    made = graph(node("plan"), node("map", for_each="${{ plan }}"), node("sum", "${{ map }}", retries=1))
    made.restore([row("sum"), row("plan", "completed", document=1)])
    assert made.settle("sum", result("failed"), 1)
    assert (statuses(made)["sum"], made.take_ready()) == (NodeStatus.WAITING, [])
    made.expand("map", {1: answer("[1]")})
    run(made, "map[0]")
    assert (made.take_ready(), made.attempt("sum")) == (["sum"], 2)


def test_instances_that_ran_are_seen_although_the_task_had_stopped() -> None:
    made = Graph(description(node("x"), node("plan"), node("map", for_each="${{ plan $.steps }}")))
    made.restore([row("x", "failed"), row("map[0]", "completed"), row("plan", "completed", document=1)])
    made.expand("map", contents(1, 2))
    assert made.state is TaskState.FAILED
    assert statuses(made) == {
        "x": NodeStatus.FAILED,
        "plan": NodeStatus.COMPLETED,
        "map[0]": NodeStatus.COMPLETED,
        "map[1]": NodeStatus.SKIPPED,
    }
