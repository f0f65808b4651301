from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest

from bus.messages import NO_USAGE, Usage
from coordinator.noderesult import NodeResult
from coordinator.tasks import nodes as drawn
from coordinator.tasks.description import revise
from coordinator.tasks.graph import Graph, NodeStatus, status_of
from coordinator.tasks.inputs import MAX_INSTANCES
from coordinator.tasks.nodes import MOVES
from coordinator.tasks.references import ReferenceFailed
from store import NodeRow, TaskState
from tests.coordinator.tasks.world import answer, description, graph, node, result, run, statuses

WHY = {"message": "why", "type": "server_error", "param": None, "code": "c"}


def row(node_id: str, outcome: Any = None, *, attempt: int = 1, document: int | None = None) -> NodeRow:
    made = None if outcome is None else json.dumps(_plain(outcome, document))
    return NodeRow(
        task_id=1, node_id=node_id, request_id="r", model="m", attempt=attempt, dispatched_at=0.0, result=made
    )


def _plain(outcome: str, document: int | None) -> dict[str, Any]:
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    told: dict[str, Any] = {"outcome": outcome, "status": 200, "usage": usage}
    return told if document is None else told | {"document": document}


def planned(*, body: str = "${{ item }} ${{ index }}", path: str = " $.steps", **fields: Any) -> Graph:
    made = graph(
        node("plan"),
        node("map", body, for_each="${{ plan" + path + " }}", **fields),
        node("sum", "All: ${{ map }}"),
    )
    made.settle("plan", result(document=1))
    made.take_ready()
    return made


def contents(*items: Any) -> dict[int, str]:
    return {1: answer(json.dumps({"steps": items})), 2: answer("A"), 3: answer("B")}


def fanned_and_expanded() -> Graph:
    made = planned()
    made.expand("map", contents("x", "y"))
    made.take_ready()
    return made


def test_the_drawing_is_what_the_nodes_do() -> None:
    assert drawn.__doc__ is not None
    arrows = re.findall(r"^ *([A-Z]+) ─► ([A-Z]+) +\S", drawn.__doc__, re.MULTILINE)
    assert len(arrows) == len(set(arrows))
    assert set(arrows) == {(earlier.name, later.name) for earlier, some in MOVES.items() for later in some}


def test_nodes_become_ready_as_what_they_depend_on_completes() -> None:
    made = graph(node("c", depends_on=["a", "b"]), node("a"), node("b"))
    assert made.take_ready() == ["a", "b"]
    assert made.take_ready() == []
    run(made, "a")
    assert made.take_ready() == []
    run(made, "b")
    assert made.take_ready() == ["c"]
    assert made.counts()[NodeStatus.READY] == 1
    run(made, "c")
    assert (made.state, made.error) == (TaskState.COMPLETED, None)
    assert list(statuses(made)) == ["c", "a", "b"]


def test_attempts_are_counted_and_failures_are_tried_again() -> None:
    made = graph(node("a", retries=1), node("b", depends_on=["a"]))
    assert made.take_ready() == ["a"]
    for attempt in (1, 2):
        assert made.attempt("a") == attempt
        made.dispatched("a")
        assert (made.attempt("a"), made.running()) == (attempt, ["a"])
        assert made.state is None
        assert made.settle("a", result("failed"))
        assert made.take_ready() == (["a"] if attempt == 1 else [])
    assert statuses(made) == {"a": NodeStatus.FAILED, "b": NodeStatus.SKIPPED}
    assert made.state is TaskState.FAILED
    assert made.error == WHY | {"message": "Node 'a' failed: why", "param": "a"}


@pytest.mark.parametrize(
    ("outcome", "status", "state"),
    [
        ("failed", NodeStatus.FAILED, TaskState.FAILED),
        ("quarantined", NodeStatus.FAILED, TaskState.FAILED),
        ("expired", NodeStatus.EXPIRED, TaskState.EXPIRED),
        ("cancelled", NodeStatus.CANCELLED, TaskState.CANCELLED),
    ],
)
def test_a_task_ends_as_the_node_that_it_lost(outcome: Any, status: NodeStatus, state: TaskState) -> None:
    retries = 0 if outcome == "failed" else 5
    made = graph(node("a", retries=retries), node("b"), node("c", depends_on=["a"]), node("d", depends_on=["c"]))
    made.dispatched("b")
    run(made, "a", outcome=outcome)
    skipped = NodeStatus.SKIPPED
    assert statuses(made) == {"a": status, "b": NodeStatus.RUNNING, "c": skipped, "d": skipped}
    assert (made.state, made.running()) == (state, ["b"])
    assert status_of(result(outcome)) is status
    assert made.error is not None
    assert made.error["param"] == "a"


def test_what_does_not_depend_on_a_failure_may_go_on() -> None:
    made = graph(
        node("a"), node("b"), node("c", depends_on=["a"]), node("d", depends_on=["b"]), on_failure="continue"
    )
    run(made, "a", outcome="failed")
    assert (made.state, made.error) == (None, None)
    run(made, "b", "d")
    assert made.state is TaskState.FAILED
    assert made.counts()[NodeStatus.SKIPPED] == 1


def test_a_result_counts_whoever_dispatched_it_and_only_once() -> None:
    made = graph(node("a"), node("b", depends_on=["a"]))
    assert made.settle("a", result(document=7))
    assert made.take_ready() == ["b"]
    assert not made.settle("a", result("failed"))
    assert not made.settle("unknown", result())
    made.dispatched("a")
    assert [(view.status, view.attempts, view.document) for view in made.nodes()] == [
        (NodeStatus.COMPLETED, 1, 7),
        (NodeStatus.READY, 0, None),
    ]


@pytest.mark.parametrize("attempt", [None, 1])
def test_a_failure_that_is_told_twice_counts_once(attempt: int | None) -> None:
    made = graph(node("a", retries=1))
    made.dispatched("a")
    assert made.settle("a", result("failed"), attempt)
    assert not made.settle("a", result("failed"), attempt)
    made.dispatched("a")
    if attempt is not None:
        assert not made.settle("a", result("failed"), attempt)
    assert made.settle("a", result(), attempt)
    assert (made.state, made.attempt("a")) == (TaskState.COMPLETED, 3)


def test_tokens_are_summed_over_all_attempts_by_model() -> None:
    made = graph(node("a", retries=1), node("b") | {"model": "other"})
    run(made, "a", outcome="failed")
    run(made, "a", "b")
    assert made.usage == Usage(3, 3, 6)
    assert made.usage_by_model == {"m": Usage(2, 2, 4), "other": Usage(1, 1, 2)}
    assert [view.usage for view in made.nodes()] == [Usage(2, 2, 4), Usage(1, 1, 2)]


def test_a_node_that_cannot_be_called_fails_for_good() -> None:
    made = graph(node("a", retries=9), node("b"), on_failure="continue")
    made.fail("a", WHY)
    made.fail("a", {"message": "again"})
    view = next(made.nodes())
    assert (view.status, view.attempts, view.error) == (NodeStatus.FAILED, 0, WHY)


def test_a_body_that_cannot_be_made_is_not_made_again() -> None:
    failed = ReferenceFailed("/messages/0", "its path finds nothing")
    made = graph(node("a", retries=9))
    assert made.settle("a", NodeResult("failed", 400, NO_USAGE, error=failed.error))
    assert (made.state, made.attempt("a")) == (TaskState.FAILED, 1)


def test_an_owners_own_result_in_the_store_is_for_good() -> None:
    made = graph(node("a", retries=9))
    own = NodeRow(
        task_id=1,
        node_id="a",
        request_id=None,
        model=None,
        attempt=0,
        dispatched_at=None,
        result=json.dumps(_plain("failed", None)),
    )
    made.restore([own])
    assert made.state is TaskState.FAILED


@pytest.mark.parametrize(
    ("status", "state", "of_running"),
    [
        (NodeStatus.CANCELLED, TaskState.CANCELLED, NodeStatus.CANCELLED),
        (NodeStatus.EXPIRED, TaskState.EXPIRED, NodeStatus.EXPIRED),
        (NodeStatus.SKIPPED, TaskState.FAILED, NodeStatus.RUNNING),
    ],
)
def test_a_task_is_stopped(status: NodeStatus, state: TaskState, of_running: NodeStatus) -> None:
    made = fanned_and_expanded()
    run(made, "map[0]")
    made.dispatched("map[1]")
    made.stop(status, WHY)
    made.stop(NodeStatus.CANCELLED)
    assert statuses(made) == {
        "plan": NodeStatus.COMPLETED,
        "map[0]": NodeStatus.COMPLETED,
        "map[1]": of_running,
        "sum": status,
    }
    assert (made.state, made.error, made.take_ready()) == (state, WHY, [])


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
        (json.dumps({"steps": [0] * (MAX_INSTANCES + 1)}), "at most"),
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


def test_a_failed_row_is_tried_again_after_a_takeover() -> None:
    made = graph(node("a", retries=2))
    made.restore([row("a", "failed", attempt=2)])
    assert (made.take_ready(), made.attempt("a")) == (["a"], 3)
    made.dispatched("a")
    made.settle("a", result("failed"), 3)
    assert made.state is TaskState.FAILED


@pytest.mark.parametrize(
    ("content", "documents", "reason"),
    [
        ("${{ a $.x }}", {1: answer("no JSON")}, "not a JSON text"),
        ("x ${{ a $.x }}", {1: answer("{}")}, "finds nothing"),
        ("${{ a.response }}", {1: "no JSON"}, "not a JSON text"),
        ("${{ a }}", {}, "no document doc_1"),
        ("${{ document:9 }}", {1: answer("")}, "no document doc_9"),
    ],
)
def test_a_body_that_cannot_be_made_says_where_and_why(content: str, documents: dict[int, str], reason: str) -> None:
    made = graph(node("a"), node("b", content, depends_on=["a"]))
    made.settle("a", result(document=1))
    with pytest.raises(ReferenceFailed) as failed:
        made.body("b", documents)
    assert failed.value.pointer == "/messages/0/content"
    assert reason in failed.value.reason


def test_a_body_is_made_of_outputs_responses_and_documents() -> None:
    spec = node("b")
    spec["body"] = {
        "messages": [
            "${{ a.response $.choices[0].message }}",
            {"role": "tool", "content": "${{ a }}/${{ document:9 }}"},
        ],
        "max_tokens": "${{ document:9 $.n }}",
        "model": "own",
    }
    made = graph(node("a"), spec)
    made.settle("a", result(document=1))
    assert made.documents("b") == [1, 9] or made.documents("b") == [9, 1]
    body = made.body("b", {1: answer("hi"), 9: '{"n": 4}'})
    assert body == {
        "model": "own",
        "messages": [{"content": "hi"}, {"role": "tool", "content": 'hi/{"n": 4}'}],
        "max_tokens": 4,
    }
    assert made.body("a", {}) == {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def test_a_message_must_become_an_object() -> None:
    spec = node("b")
    spec["body"] = {"messages": [{"role": "user"}, "${{ a }}"]}
    made = graph(node("a"), spec)
    made.settle("a", result(document=1))
    with pytest.raises(ReferenceFailed) as failed:
        made.body("b", {1: answer("SECRET")})
    assert failed.value.pointer == "/messages/1"
    assert "SECRET" not in str(failed.value)


def test_a_node_without_a_response_has_no_output() -> None:
    made = graph(node("a"), node("b", "${{ a }}"))
    made.settle("a", result())
    assert made.documents("b") == []
    with pytest.raises(ReferenceFailed, match="'a' has no response"):
        made.body("b", {})


def test_an_open_task_goes_on_with_more_nodes() -> None:
    made = Graph(description(node("a"), open=True, on_failure="continue"))
    run(made, made.take_ready()[0])
    assert made.state is None
    more = json.dumps({"nodes": [node("b", "${{ a }}"), node("c", "${{ b }}")], "open": False}).encode()
    made.revise(revise(made.description, more, max_nodes=9))
    assert (made.take_ready(), made.state, made.size) == (["b"], None, 3)
    run(made, "b", "c")
    assert made.state is TaskState.COMPLETED


def test_a_task_that_is_closed_with_nothing_left_has_ended() -> None:
    made = Graph(description(open=True))
    assert made.state is None
    made.revise(revise(made.description, b'{"open": false}', max_nodes=9))
    assert made.state is TaskState.COMPLETED


def test_nodes_that_are_added_behind_a_failure_are_skipped() -> None:
    made = Graph(description(node("a"), open=True, on_failure="continue"))
    run(made, "a", outcome="failed")
    more = json.dumps({"nodes": [node("b", depends_on=["a"]), node("c", depends_on=["b"]), node("d")]}).encode()
    made.revise(revise(made.description, more, max_nodes=9))
    assert made.take_ready() == ["d"]
    assert made.counts()[NodeStatus.SKIPPED] == 2
    stopped = Graph(description(node("a"), open=True))
    run(stopped, "a", outcome="failed")
    stopped.revise(revise(stopped.description, more, max_nodes=9))
    assert (stopped.take_ready(), stopped.counts()[NodeStatus.SKIPPED]) == ([], 3)


def test_what_is_left_is_the_longest_way_and_the_sum() -> None:
    made = graph(
        node("a"), node("b", depends_on=["a"]) | {"model": "slow"}, node("c", depends_on=["a"]), node("d", "${{ c }}")
    )
    assert (made.path, made.work) == (3.0, 4.0)
    made.weigh({"m": 2.0, "slow": 7.0}.__getitem__)
    assert {each: made.tail(each) for each in "abcd"} == {"a": 9.0, "b": 7.0, "c": 4.0, "d": 2.0}
    assert (made.path, made.work, made.models()) == (9.0, 13.0, {"m", "slow"})
    run(made, "a", "b")
    assert (made.path, made.work) == (4.0, 4.0)
    run(made, "c", "d")
    assert (made.path, made.work) == (0.0, 0.0)


def test_instances_run_side_by_side() -> None:
    made = planned()
    made.weigh(lambda model: 2.0)
    assert (made.path, made.work) == (4.0, 4.0)
    made.expand("map", contents(1, 2, 3))
    assert (made.path, made.work, made.tail("map[2]")) == (4.0, 8.0, 4.0)
    run(made, "map[0]", "map[1]")
    assert (made.path, made.work) == (4.0, 4.0)
    run(made, "map[2]")
    assert (made.path, made.work) == (2.0, 2.0)


def structure(name: str, count: int) -> list[dict[str, Any]]:
    names = [f"n{number}" for number in range(count)]
    if name == "chain":
        return [
            node(each, depends_on=[before] if before else [])
            for before, each in zip([None, *names], names, strict=False)
        ]
    many = [node(each, depends_on=["first"] if name == "diamond" else []) for each in names]
    return [*many, *([node("first"), node("last", depends_on=names)] if name == "diamond" else [])]


@pytest.mark.parametrize("name", ["bag", "chain", "diamond"])
def test_ten_thousand_nodes_cost_little(name: str) -> None:
    standing = description(*structure(name, 10_000))
    began = time.process_time()
    made = Graph(standing)
    done = 0
    while ready := made.take_ready():
        for each in ready:
            made.tail(each)
            made.documents(each)
            made.body(each, {})
            made.dispatched(each)
        for each in ready:
            made.settle(each, result(document=1))
            assert made.path >= 0
            assert made.work >= 0
            done += made.state is None
    assert made.state is TaskState.COMPLETED
    assert done == made.size - 1
    assert time.process_time() - began < 8
