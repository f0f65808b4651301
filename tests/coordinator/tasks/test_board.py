"""What is next, over all tasks of a coordinator: windows, users, retries, owners that change. No sockets."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec

from bus.messages import NO_USAGE, Outcome
from coordinator.graph.description import parse
from coordinator.graph.graph import Graph
from coordinator.noderesult import NodeResult
from coordinator.tasks.board import Board, Held, Pick
from coordinator.tasks.news import Settled
from policy.window import MIN_OUTSTANDING, Demand, Fleet
from store import Epoch, NodeRow, OwnedTask, TaskState

MODEL = "m"
SLOTS = 10


def graph(*nodes: dict[str, Any], **more: Any) -> Graph:
    body = {"messages": [{"role": "user", "content": "?"}]}
    described = [{"model": MODEL, "body": body, **node} for node in nodes]
    return Graph(parse(msgspec.json.encode({"nodes": described, **more}), max_nodes=100_000))


def bag(count: int) -> Graph:
    return graph(*({"id": f"n{number}"} for number in range(count)))


def owned(task_id: int, *, user: int = 1, weight: float = 1.0, deadline: float | None = None) -> OwnedTask:
    return OwnedTask(
        task_id=task_id,
        user_id=user,
        weight=weight,
        epoch=Epoch(0, 0),
        description="",
        priority=0,
        deadline=deadline,
        created_at=float(task_id),
    )


class Driver:
    """A board, and a clock that is moved by hand."""

    def __init__(self) -> None:
        self.board = Board("here", "fcfs", lambda model: None)
        self.now = 1000.0
        self.others: dict[str, list[Demand]] = {}
        self.sent: dict[tuple[int, str], str] = {}

    def take(self, limit: int = 1000) -> list[Pick]:
        return self.board.take({MODEL: Fleet(1, SLOTS)}, self.others, self.now, limit)

    def dispatch(self, limit: int = 1000) -> list[tuple[int, str]]:
        """Takes and dispatches; which nodes of which tasks."""
        picks = self.take(limit)
        for pick in picks:
            key = (pick.held.task.task_id, pick.node_id)
            self.sent[key] = f"request of {key} number {pick.held.graph.attempt(pick.node_id)}"
            self.board.dispatched(pick, self.sent[key], self.now)
        self.board.left(picks)
        return [(pick.held.task.task_id, pick.node_id) for pick in picks]

    def settle(self, task_id: int, node_id: str, outcome: Outcome = "completed", request: str = "") -> Held | None:
        request_id = request or self.sent[task_id, node_id]
        result = NodeResult(outcome=outcome, status=200, usage=NO_USAGE)
        return self.board.settle(Settled(task_id, node_id, request_id, result), self.now)


def test_no_more_is_outstanding_than_the_workers_can_soon_use() -> None:
    driver = Driver()
    driver.board.add(owned(1), bag(50))
    assert len(driver.dispatch()) == SLOTS
    assert driver.dispatch() == []
    driver.settle(1, "n0")
    assert driver.dispatch()[0] == (1, "n10")


def test_the_window_grows_with_what_the_workers_finish() -> None:
    driver = Driver()
    driver.board.add(owned(1), bag(20_000))
    outstanding = first = driver.dispatch()
    for _ in range(3):
        driver.now += 0.1
        for task_id, node_id in outstanding:
            driver.settle(task_id, node_id)
        outstanding = driver.dispatch()
    assert len(outstanding) > len(first)


def test_a_model_without_workers_shows_a_small_backlog() -> None:
    driver = Driver()
    driver.board.add(owned(1), bag(50))
    assert len(driver.board.take({}, {}, driver.now, 1000)) == MIN_OUTSTANDING


def test_what_other_coordinators_want_is_left_to_them() -> None:
    driver = Driver()
    driver.others = {MODEL: [Demand("there", 0, 100)]}
    driver.board.add(owned(1), bag(50))
    assert len(driver.dispatch()) == SLOTS // 2


def test_users_take_turns_however_much_each_has() -> None:
    driver = Driver()
    driver.board.add(owned(1, user=1), bag(500))
    driver.board.add(owned(2, user=2), bag(500))
    taken = Counter(task_id for task_id, _ in driver.dispatch())
    assert taken == {1: 5, 2: 5}


def test_a_user_of_double_weight_has_double_the_part() -> None:
    driver = Driver()
    driver.board.add(owned(1, user=1, weight=2.0), bag(500))
    driver.board.add(owned(2, user=2), bag(500))
    taken = Counter(task_id for task_id, _ in driver.dispatch(9))
    assert taken == {1: 6, 2: 3}


def test_what_could_not_be_dispatched_is_next_again() -> None:
    driver = Driver()
    driver.board.add(owned(1), bag(3))
    picks = driver.take()
    assert driver.take() == []
    driver.board.put_back(picks)
    driver.board.left(picks)
    assert sorted(driver.dispatch()) == [(1, "n0"), (1, "n1"), (1, "n2")]


def test_a_failure_is_tried_again_and_told_twice_counts_once() -> None:
    driver = Driver()
    held = driver.board.add(owned(1), graph({"id": "a", "retries": 1}))
    driver.dispatch()
    first = driver.sent[1, "a"]
    assert driver.settle(1, "a", "failed") is held
    assert driver.settle(1, "a", "failed", first) is None
    assert driver.dispatch() == [(1, "a")]
    assert driver.settle(1, "a", "failed", first) is None
    assert held.graph.state is None
    assert driver.settle(1, "a", "failed") is held
    assert held.graph.state is TaskState.FAILED


def test_what_an_earlier_owner_dispatched_is_outstanding_and_not_taken_again() -> None:
    driver = Driver()
    running = NodeRow(task_id=1, node_id="n0", request_id="r", model=MODEL, attempt=1, dispatched_at=0.0, result=None)
    taken_over = bag(12)
    taken_over.restore([running])
    driver.board.add(owned(1), taken_over, [running])
    taken = driver.dispatch()
    assert (1, "n0") not in taken
    assert len(taken) == SLOTS - 1
    assert driver.board.outstanding_since(0.0) == [(1, "n0")]
    assert driver.settle(1, "n0", request="r") is not None
    assert driver.dispatch()


def test_a_task_that_is_dropped_leaves_nothing_behind() -> None:
    driver = Driver()
    driver.board.add(owned(1), bag(50))
    driver.dispatch()
    driver.board.drop(1)
    assert len(driver.board) == 0
    assert driver.board.demands() == {}
    assert driver.dispatch() == []
    assert driver.settle(1, "n0") is None


def test_a_dispatch_that_was_committed_after_the_task_went_counts_nowhere() -> None:
    driver = Driver()
    driver.board.add(owned(1), bag(1))
    picks = driver.take()
    driver.board.clear()
    driver.board.dispatched(picks[0], "r", driver.now)
    driver.board.left(picks)
    assert driver.board.demands() == {}


def test_what_is_on_its_way_out_counts_as_outstanding() -> None:
    driver = Driver()
    driver.board.add(owned(1), bag(50))
    assert len(driver.take()) == SLOTS
    assert driver.take() == []
    assert driver.board.demands() == {MODEL: Demand("here", SLOTS, 40)}


def test_tasks_past_their_deadline_and_tasks_that_wait_for_more_are_known() -> None:
    driver = Driver()
    late = driver.board.add(owned(1, deadline=50.0), bag(1))
    driver.board.add(owned(2, deadline=150.0), bag(1))
    driver.board.add(owned(3), graph(open=True))
    assert driver.board.overdue(100.0) == [late]
    assert driver.board.idle() == [3]
