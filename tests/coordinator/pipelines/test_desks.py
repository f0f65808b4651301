"""What waits before a stage, as a lane of the board: windows, orders, drops, changes. The clock is moved by hand."""

from __future__ import annotations

from typing import Any

import msgspec

from bus.messages import NO_USAGE, BatchUse
from coordinator.graph.graph import Graph, NodeStatus
from coordinator.noderesult import NodeResult
from coordinator.pipelines.desk import Desk
from coordinator.pipelines.desks import Desks
from coordinator.pipelines.figures import Figures
from coordinator.pipelines.template import Asked, Template, read_pipeline
from coordinator.tasks.board import Board, Held, Pick
from coordinator.tasks.news import Served, Settled
from coordinator.tasks.summary import unreachable
from policy.window import Fleet
from store import Epoch, OwnedTask

PROFILE = {"1": 0.1, "4": 0.2}
SLO = 1.0
WORKERS = 2
SIZE = 4
# Two workers serve 40 requests a second: in the 0.2 s of the way 8 more are needed.
WINDOW = WORKERS * SIZE + 8


def template(policy: str = "lazy", **stage: Any) -> Template:
    stages = [
        {"id": "one", "model": "m1", "profile": PROFILE, **stage},
        {"id": "two", "model": "m2", "profile": PROFILE, "after": ["one"]},
    ]
    return read_pipeline("p", msgspec.json.encode({"slo_seconds": SLO, "policy": policy, "stages": stages}))


class Driver:
    """A board on which one pipeline's requests are."""

    def __init__(self, policy: str = "lazy") -> None:
        self.now = 1000.0
        self.template = template(policy)
        self.desks = Desks(lambda: self.now)
        self.restage(self.template)
        self.board = Board("here", "fcfs", self.desks.get)
        self.tasks = 0

    def restage(self, made: Template) -> set[str]:
        return self.desks.set({stage.model: (made.pipeline, stage) for stage in made.pipeline.stages})

    def desk(self, model: str = "m1") -> Desk:
        desk = self.desks.get(model)
        assert desk is not None
        return desk

    def ask(self, count: int = 1) -> list[Held]:
        made = []
        for _ in range(count):
            self.tasks += 1
            description = self.template.task(Asked(input=self.tasks))
            seconds = description.deadline_seconds
            task = OwnedTask(
                task_id=self.tasks,
                user_id=1,
                weight=1.0,
                epoch=Epoch(0, 0),
                description="",
                priority=0,
                deadline=None if seconds is None else self.now + seconds,
                created_at=self.now,
            )
            made.append(self.board.add(task, Graph(description)))
        return made

    def take(self) -> list[Pick]:
        fleets = {model: Fleet(WORKERS, WORKERS * SIZE) for model in ("m1", "m2")}
        picks = self.board.take(fleets, {}, self.now, 1000)
        for pick in picks:
            self.board.dispatched(pick, f"{pick.held.task.task_id}-{pick.node_id}", self.now)
        self.board.left(picks)
        return picks

    def answer(self, pick: Pick, seconds: float = 0.05) -> None:
        served = Served(self.now - 0.3, self.now - 0.25, self.now - 0.2, self.now, SIZE)
        result = NodeResult(outcome="completed", status=200, usage=NO_USAGE, document=1, seconds=seconds)
        task_id = pick.held.task.task_id
        self.board.settle(Settled(task_id, pick.node_id, f"{task_id}-{pick.node_id}", result, served), self.now)


def test_beyond_the_gate_are_the_batches_that_run_and_the_next() -> None:
    driver = Driver()
    driver.ask(3 * WINDOW)
    picks = driver.take()
    assert [pick.held.task.task_id for pick in picks] == list(range(1, WINDOW + 1))
    assert driver.take() == []
    for pick in picks[:3]:
        driver.answer(pick)
    again = driver.take()
    assert [pick.held.task.task_id for pick in again if pick.node_id == "one"] == [WINDOW + 1, WINDOW + 2, WINDOW + 3]
    assert [pick.held.task.task_id for pick in again if pick.node_id == "two"] == [1, 2, 3]


def test_what_has_no_hope_is_dropped_where_it_waits_and_told_once() -> None:
    driver = Driver()
    driver.ask(WINDOW + 5)
    driver.take()
    assert driver.board.restless()
    driver.now += SLO - 0.05  # a batch of one takes longer
    assert driver.take() == []
    dropped = driver.board.take_dropped()
    assert [(held.task.task_id, node) for held, node in dropped] == [(WINDOW + n, "one") for n in range(1, 6)]
    assert driver.board.take_dropped() == []
    assert not driver.board.restless()
    assert driver.desk().dropped == 5


def test_without_a_deadline_nothing_is_dropped() -> None:
    driver = Driver("none")
    driver.ask(WINDOW + 5)
    driver.take()
    driver.now += 100
    driver.take()
    assert driver.board.take_dropped() == []
    assert len(driver.desk()) == 5


def test_a_task_that_is_dropped_from_the_board_leaves_its_gate() -> None:
    driver = Driver()
    held = driver.ask(WINDOW + 2)[-1]
    driver.take()
    driver.board.drop(held.task.task_id)
    driver.now += 10
    driver.take()
    assert [task.task.task_id for task, _ in driver.board.take_dropped()] == [WINDOW + 1]


def test_a_node_of_a_task_that_was_stopped_does_not_leave() -> None:
    driver = Driver()
    first, second = driver.ask(2)
    first.graph.stop(NodeStatus.EXPIRED, unreachable("one"))
    assert [pick.held for pick in driver.take()] == [second]


def test_what_could_not_be_dispatched_waits_again() -> None:
    driver = Driver()
    driver.ask()
    picks = driver.board.take({"m1": Fleet(1, 4)}, {}, driver.now, 10)
    driver.board.left(picks)
    driver.board.put_back(picks)
    assert [pick.held for pick in driver.take()] == [pick.held for pick in picks]


def test_the_worker_is_told_by_when_it_must_be_done() -> None:
    driver = Driver("agentos")
    held = driver.ask()[0]
    (pick,) = driver.take()
    assert pick.serve_by is not None
    assert held.task.deadline is not None
    # The second stage takes 0.1 s at best.
    assert held.task.created_at < pick.serve_by <= held.task.deadline - 0.1


def test_a_pipeline_that_changes_has_other_desks_and_its_tasks_move_there() -> None:
    driver = Driver()
    driver.ask(3)
    before = driver.desk("m1"), driver.desk("m2")
    assert driver.restage(driver.template) == set()
    assert (driver.desk("m1"), driver.desk("m2")) == before
    changed = driver.restage(template("pard"))
    assert changed == {"m1", "m2"}
    assert driver.board.stages_changed(changed) == [1, 2, 3]
    assert driver.take() == []
    for task_id in (1, 2, 3):
        held = driver.board.get(task_id)
        assert held is not None
        driver.board.add(held.task, Graph(held.graph.description))
    assert len(driver.take()) == 3


def test_a_stage_that_is_gone_is_a_plain_model_again() -> None:
    driver = Driver()
    driver.ask()
    assert driver.desks.set({}) == {"m1", "m2"}
    driver.board.stages_changed({"m1", "m2"})
    held = driver.board.get(1)
    assert held is not None
    driver.board.add(held.task, Graph(held.graph.description))
    assert [pick.serve_by for pick in driver.take()] == [None]


def test_figures_say_what_became_of_requests_and_what_was_wasted() -> None:
    driver = Driver()
    on_time, late, dropped = driver.ask(3)
    for pick in driver.take():
        driver.answer(pick)
    for pick in driver.take():
        if pick.held is not dropped:
            driver.answer(pick)
    dropped.graph.stop(NodeStatus.EXPIRED, unreachable("two"))
    figures = Figures()
    figures.offered, figures.refused = 5, 1
    for held, seconds in ((on_time, 1.0), (late, 1.01), (dropped, 0.9)):
        request = held.graph.description.pipeline
        assert request is not None
        figures.end(request, held.graph, seconds)
    use = BatchUse(size=SIZE, queued=3, batches=2, requests=7, wait=0.1, wait_p10=0.0, service=0.2)
    told = figures.told(driver.desks.of(driver.template.pipeline), {"one": [use, use], "two": []}, driver.now)
    assert {name: told[name] for name in ("offered", "on_time", "late", "dropped", "failed", "goodput")} == {
        "offered": 5,
        "on_time": 1,
        "late": 1,
        "dropped": 2,
        "failed": 0,
        "goodput": 0.2,
    }
    assert (told["stages"]["one"]["wasted_seconds"], told["stages"]["two"]["wasted_seconds"]) == (0.1, 0.05)
    assert [(each["queued_at_workers"], each["filled"]) for each in told["stages"].values()] == [(6, 3.5), (0, None)]
    assert (told["stages"]["one"]["served"], told["stages"]["two"]["served"]) == (3, 2)


def test_workers_are_counted_in_seconds() -> None:
    driver = Driver()
    driver.ask()
    driver.take()
    driver.now += 5
    driver.take()
    assert driver.desk().worker_seconds == 5 * WORKERS
