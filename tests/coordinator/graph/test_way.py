"""What is left of a graph, and what a large one costs."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from coordinator.graph.description import revise
from coordinator.graph.graph import Graph
from store import TaskState
from tests.coordinator.graph.sketches import contents, description, graph, node, planned, result, run


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


def test_nodes_that_are_added_lengthen_the_way() -> None:
    made = Graph(description(node("a"), open=True))
    made.weigh(lambda model: 2.0)
    assert (made.path, made.work, made.tail("a")) == (2.0, 2.0, 2.0)
    more = json.dumps({"nodes": [node("c", depends_on=["b"]), node("b", depends_on=["a"])]}).encode()
    made.revise(revise(made.description, more, max_nodes=9))
    assert (made.path, made.work, made.tail("a")) == (6.0, 6.0, 6.0)


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
