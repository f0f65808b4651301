from __future__ import annotations

import json
import re
from typing import Any

import pytest

from bus.messages import NO_USAGE, Usage
from coordinator.graph import nodes as drawn
from coordinator.graph.description import revise
from coordinator.graph.graph import Graph, NodeStatus, status_of
from coordinator.graph.nodes import MOVES
from coordinator.graph.references import ReferenceFailed
from coordinator.noderesult import NodeResult
from store import TaskState
from tests.coordinator.graph.sketches import contents, description, graph, node, planned, result, row, run, statuses

WHY = {"message": "why", "type": "server_error", "param": None, "code": "c"}


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
    own = row("a", "failed", attempt=0, request_id=None)
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


def test_a_failed_row_is_tried_again_after_a_takeover() -> None:
    made = graph(node("a", retries=2))
    made.restore([row("a", "failed", attempt=2)])
    assert (made.take_ready(), made.attempt("a")) == (["a"], 3)
    made.dispatched("a")
    made.settle("a", result("failed"), 3)
    assert made.state is TaskState.FAILED


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
