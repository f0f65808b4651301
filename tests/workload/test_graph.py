"""Graphs that programs and files write down are descriptions that the gateway takes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from coordinator.graph.description import Description, parse
from workload.graph import INDEX, ITEM, Graph, description_of, item, literal


def taken(written: Graph | dict[str, Any]) -> Description:
    """As the gateway reads it. Raises where it refuses."""
    return parse(json.dumps(description_of(written)).encode(), max_nodes=100)


def test_a_graph_is_a_description() -> None:
    graph = Graph(user="alice", priority=3, deadline_seconds=60, budget={"tokens": 100}, metadata={"for": "a test"})
    plan = graph.node("plan", model="m", prompt="Plan.", temperature=0.5, retries=2)
    graph.node("step", model="m", for_each=plan.json("$.steps"), prompt=f"{INDEX}: {ITEM}, {item('$.name')}")
    told = [{"role": "user", "content": plan.response("$.usage.total_tokens")}]
    graph.node("told", model="m", messages=told, depends_on=["step"], deadline_seconds=5)
    graph.node("sum", model="m", prompt=f"Sum up: {plan}", depends_on=[plan])
    description = taken(graph)
    assert (description.user, description.priority, description.deadline_seconds) == ("alice", 3, 60)
    assert description.metadata == {"for": "a test"}
    assert description.budget is not None
    assert description.budget.tokens == 100
    first, step, after, last = description.nodes
    assert first.body == {"messages": [{"role": "user", "content": "Plan."}], "temperature": 0.5}
    assert (first.retries, after.deadline_seconds) == (2, 5)
    assert step.for_each == "${{ plan $.steps }}"
    assert after.body["messages"][0]["content"] == "${{ plan.response $.usage.total_tokens }}"
    assert (after.depends_on, last.depends_on) == (["step", "plan"], ["plan"])
    assert last.body["messages"][0]["content"] == "Sum up: ${{ plan }}"


def test_an_open_graph_may_be_empty() -> None:
    assert taken(Graph(open=True)).open


def test_text_of_somebody_else_refers_to_nothing() -> None:
    graph = Graph()
    graph.node("a", model="m", prompt=literal("${{ nobody }} and $${{ nobody }}"))
    assert taken(graph).nodes[0].body["messages"][0]["content"] == "$${{ nobody }} and $$${{ nobody }}"


def test_a_node_in_a_file_may_have_a_prompt_in_place_of_messages() -> None:
    written = {"nodes": [{"id": "a", "model": "m", "prompt": "Hello."}, {"id": "b", "model": "m", "body": body("b")}]}
    assert [node.body for node in taken(written).nodes] == [body("Hello."), body("b")]
    assert written["nodes"][0] == {"id": "a", "model": "m", "prompt": "Hello."}


@pytest.mark.parametrize("wrong", [{}, {"nodes": 5}, {"nodes": [5]}, {"nodes": [{"prompt": "x", "body": 5}]}])
def test_what_is_wrong_is_left_for_the_gateway_to_refuse(wrong: dict[str, Any]) -> None:
    assert description_of(wrong) == wrong


def body(content: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content}]}
