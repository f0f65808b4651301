"""What goes wrong follows from the seed alone."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.chaos.graphs import plan
from tests.chaos.schedule import Mishap, schedule

VICTIMS = {"coordinator-1": 3.0, "coordinator-2": 3.0, "worker-1": 2.0, "postgres": 1.0, "broker": 1.0}


def test_the_same_seed_gives_the_same_run_and_another_seed_another() -> None:
    assert schedule(1, 600, VICTIMS) == schedule(1, 600, dict(reversed(VICTIMS.items())))
    assert schedule(1, 600, VICTIMS) != schedule(2, 600, VICTIMS)
    assert plan(1, 7, "m") == plan(1, 7, "m")
    assert [plan(1, number, "m") for number in range(9)] != [plan(2, number, "m") for number in range(9)]


@pytest.mark.parametrize("seed", range(20))
def test_everything_is_hit_in_both_ways_and_nothing_twice_at_once(seed: int) -> None:
    mishaps = schedule(seed, 600, VICTIMS)
    assert {each.kind for each in mishaps} == {"kill", "stop"}
    for victim in VICTIMS:
        own: list[Mishap] = [each for each in mishaps if each.victim == victim]
        assert own
        assert all(one.at + one.seconds <= next_.at for one, next_ in pairwise(own))
    assert all(0 < each.at < 600 for each in mishaps)


def test_graphs_of_all_kinds_occur_and_each_tells_what_its_nodes_say() -> None:
    planned = [plan(3, number, "m") for number in range(200)]
    ids = {node["id"] for each in planned for node in each.description["nodes"]}
    assert {"n0", "top", "bottom", "each", "join", "sum"} <= ids
    wrong = [each for each in planned if each.says is None]
    assert 0 < len(wrong) < 60
    for each in planned:
        if each.says is not None:
            told = {name.partition("[")[0] for name in each.says}
            assert {node["id"] for node in each.description["nodes"]} - {"each"} <= told
