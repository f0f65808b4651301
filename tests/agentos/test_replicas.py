"""What the cluster is told, and when."""

from __future__ import annotations

from agentos.replicas import AGAIN_SECONDS, LONGEST_PAUSE_SECONDS, Reins, Target, without_replicas
from bus.scaling import Order
from policy.slo.pipeline import Pipeline, Replicas, Stage, Workers, checked

A = Replicas(name="dep-a", namespace="team", kind="Deployment")
B = Replicas(name="ai-b")
STAGES = [
    Stage(id="a", model="m-a", profile={1: 0.1}, workers=Workers(most=5), replicas=A),
    Stage(id="b", model="m-b", profile={1: 0.1}, after=["a"], replicas=B),
    Stage(id="c", model="m-c", profile={1: 0.1}, after=["b"]),
]
PIPELINE = checked(Pipeline(name="p", slo_seconds=1.0, stages=STAGES))
ON_A, ON_B = Target("p", "a", A), Target("p", "b", B)


def order(**workers: int) -> Order:
    return Order(pipeline="p", workers=workers, at=0.0, planner="c")


def reins() -> Reins:
    made = Reins()
    made.set([PIPELINE])
    return made


def test_nothing_is_told_before_the_first_order() -> None:
    assert reins().due(0.0) == []


def test_an_order_is_told_at_once_and_then_only_now_and_then() -> None:
    held = reins()
    held.order(order(a=2, b=1, c=7, unknown=3))
    assert held.due(0.0) == [(ON_A, 2), (ON_B, 1)]
    assert held.done(ON_A, 2, 0.0)
    assert held.done(ON_B, 1, 0.0)
    held.order(order(a=2, b=1))
    assert held.due(AGAIN_SECONDS - 1) == []
    assert held.due(AGAIN_SECONDS) == [(ON_A, 2), (ON_B, 1)]
    assert not held.done(ON_A, 2, AGAIN_SECONDS)


def test_the_latest_order_is_true_and_within_bounds() -> None:
    held = reins()
    held.order(order(a=2))
    held.done(ON_A, 2, 0.0)
    held.order(order(a=3))
    held.order(order(a=99))
    assert held.due(1.0) == [(ON_A, 5)]


def test_a_failure_is_tried_again_later_and_later() -> None:
    held = reins()
    held.order(order(a=2))
    pauses, now = [], 0.0
    for _ in range(9):
        assert held.due(now) == [(ON_A, 2)]
        pauses.append(held.failed(ON_A, now))
        held.order(order(a=3))  # more news do not hurry it
        held.order(order(a=2))
        assert held.due(now + pauses[-1] * 0.9) == []
        now += pauses[-1]
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE_SECONDS
    held.done(ON_A, 2, now)
    held.order(order(a=4))
    assert held.due(now) == [(ON_A, 4)]


def test_one_that_fails_does_not_hold_up_the_others() -> None:
    held = reins()
    held.order(order(a=2, b=2))
    held.failed(ON_A, 0.0)
    assert held.due(0.5) == [(ON_B, 2)]


def test_what_is_no_pipeline_any_more_is_not_told() -> None:
    held = reins()
    held.order(order(a=2, b=2))
    held.set([])
    assert held.due(0.0) == []
    held.set([PIPELINE])
    assert held.due(0.0) == []
    held.order(order(b=1))
    assert held.due(0.0) == [(ON_B, 1)]


def test_stages_without_an_object_are_named() -> None:
    assert without_replicas([PIPELINE]) == {"p": ["c"]}
    assert without_replicas([]) == {}


def test_a_target_reads_as_words() -> None:
    assert str(ON_A) == "pipeline p, stage a: Deployment team/dep-a"
