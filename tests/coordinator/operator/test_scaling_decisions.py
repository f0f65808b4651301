"""What the scaler decides by: whose turn it is to be looked at, what has been ordered, whose work it is."""

from __future__ import annotations

from typing import Any

from bus.scaling import Order
from coordinator.operator.scaling.fleet import Scaled
from coordinator.operator.scaling.orders import FRESH_SECONDS, Orders
from coordinator.operator.scaling.shares import Look, shares
from coordinator.operator.scaling.turns import MOST_PER_SECOND, TELL_SECONDS, Telling, Turns
from coordinator.operator.wanted.aimodel import Key
from policy.scaling import Ordered, Sample, Scaling

KEY: Key = ("team", "a")


def order(**workers: int) -> Order:
    return Order(
        pipeline="p", workers=workers, at=0.0, planner="c", models={stage: f"m-{stage}" for stage in workers}
    )


def test_the_latest_order_counts_while_it_is_fresh() -> None:
    orders = Orders()
    assert orders.of("m-a", 0.0) is None
    orders.hear(order(a=2, b=0), 0.0)
    orders.hear(order(a=5), 3.0)
    assert orders.of("m-a", 3.0 + FRESH_SECONDS) == Ordered(5, "planner, pipeline p, stage a")
    assert orders.of("m-b", 1.0) == Ordered(0, "planner, pipeline p, stage b")
    assert orders.of("m-b", 0.1 + FRESH_SECONDS) is None
    assert orders.of("m-b", 1.0) is None
    assert orders.of("m-c", 1.0) is None


def test_an_order_of_an_older_planner_says_nothing() -> None:
    orders = Orders()
    orders.hear(Order(pipeline="p", workers={"a": 2}, at=0.0, planner="c"), 0.0)
    orders.hear(Order(pipeline="p", workers={"a": 2}, at=0.0, planner="c", models={"b": "m-a"}), 0.0)
    assert orders.of("m-a", 0.0) is None


def test_each_model_has_its_turn_once_in_its_time() -> None:
    turns = Turns(lambda: 0.5)
    turns.follow({"a": 1.0, "b": 10.0}, 0.0)
    assert turns.take(0.4) == []
    assert turns.take(0.5) == ["a"]
    assert turns.take(100.0) == ["b"]  # `a` is still being looked at
    turns.done("a", 101.0)
    assert turns.take(101.9) == []
    assert turns.take(102.0) == ["a"]


def test_who_becomes_busy_need_not_wait_for_an_idle_turn() -> None:
    turns = Turns(lambda: 1.0)
    turns.follow({"a": 10.0}, 0.0)
    turns.follow({"a": 1.0}, 2.0)
    assert turns.take(3.0) == ["a"]


def test_who_is_gone_has_no_turn() -> None:
    turns = Turns(lambda: 0.0)
    turns.follow({"a": 1.0}, 0.0)
    assert turns.take(0.0) == ["a"]
    turns.follow({}, 0.0)
    turns.done("a", 0.0)
    assert turns.take(100.0) == []


def test_many_models_are_looked_at_less_often_and_not_all_at_one_moment() -> None:
    chances = (number / 500 for number in range(500))
    turns = Turns(lambda: next(chances))
    models = {f"m{number}": 2.0 for number in range(500)}
    looks = []
    for tick in range(100):  # 10 s
        now = tick / 10
        turns.follow(models, now)
        taken = turns.take(now)
        looks.append(len(taken))
        for model in taken:
            turns.done(model, now)
    assert sum(looks) <= 10.5 * MOST_PER_SECOND
    assert max(looks) <= 2 * MOST_PER_SECOND / 10
    assert sum(looks) >= 500 * 10 / 3.0  # each within three seconds


def test_a_backlog_is_told_now_and_then_and_at_once_where_it_begins_or_ends() -> None:
    telling = Telling()
    told = [telling.due(KEY, count, now) for now, count in enumerate([0, 0, 3, 9, 0, None, None, 0])]
    assert told == [True, False, True, False, True, True, False, True]
    assert not telling.due(KEY, 0, 7 + TELL_SECONDS - 1)
    assert telling.due(KEY, 0, 7 + TELL_SECONDS)
    telling.forget(KEY)
    assert telling.due(KEY, 0, 7 + TELL_SECONDS)


def scaled(name: str, *, most: int = 10, target: int | None = 4, **fields: Any) -> Scaled:
    scaling = None if target is None else Scaling(target=target, max=most)
    known = {"slots": 4, "replicas": 1, "ready": 1, **fields}
    return Scaled(key=("team", name), model="m", node_type="remote", scaling=scaling, **known)


def works(members: list[Scaled], look: Look, ordered: Ordered | None = None) -> list[tuple[int, int, bool]]:
    samples = [share.sample for share in shares(members, look, ordered)]
    return [(sample.waiting, sample.running, sample.moved) for sample in samples]


def test_one_has_all_the_work() -> None:
    [share] = shares([scaled("a", ready=3)], Look(7.0, 5, 8, True), None)
    assert share.sample == Sample(7.0, 5, 8, True, 3)
    assert share.ordered is None


def test_several_share_the_work_and_little_of_it_is_the_firsts() -> None:
    both = [scaled("b"), scaled("a")]
    assert works(both, Look(0.0, 1, 0, True)) == [(1, 0, True), (0, 0, False)]
    assert works(both, Look(0.0, 40, 40, False)) == [(20, 20, False), (20, 20, False)]
    assert works([scaled("a", most=30), scaled("b")], Look(0.0, 80, 0, False)) == [(60, 0, False), (20, 0, False)]
    assert works(both, Look(0.0, 0, 0, True)) == [(0, 0, True), (0, 0, False)]


def test_what_those_can_hold_that_others_scale_is_theirs() -> None:
    members = [scaled("a"), scaled("fixed", target=None, slots=8, ready=2)]
    assert works(members, Look(0.0, 2, 14, True)) == [(0, 0, False)]
    assert works(members, Look(0.0, 20, 16, True)) == [(12, 8, True)]


def test_the_work_of_one_that_has_failed_is_the_others() -> None:
    members = [scaled("a", failed=True), scaled("b")]
    assert works(members, Look(0.0, 10, 0, True)) == [(0, 0, False), (10, 0, True)]
    assert works([scaled("a", failed=True)], Look(0.0, 10, 0, True)) == [(10, 0, True)]


def test_an_order_is_divided_too() -> None:
    members = [scaled("a", most=2), scaled("b", most=4), scaled("fixed", target=None, ready=1)]
    found = shares(members, Look(0.0, 0, 0, False), Ordered(7, "planner"))
    assert [share.ordered for share in found] == [Ordered(2, "planner"), Ordered(4, "planner")]
