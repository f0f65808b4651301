"""The synthetic graphs have the tasks and edges that they should, and the gateway takes them."""

from __future__ import annotations

import json

import pytest

from coordinator.graph.description import Description, parse
from workload.shapes import GRAPHS, LAST, Structure, Synthetic, single, warmup


def application(structure: Structure, count: int = 7) -> Synthetic:
    return Synthetic(structure=structure, task_count=count, task_data_bytes=10, task_sleep=0.5)


def described(app: Synthetic) -> Description:
    data = [f"data {number}" for number in range(app.inputs)]
    graph = single(app, data[:1]) if app.structure is Structure.BAG else GRAPHS[app.structure](app, data)
    return parse(json.dumps(graph.description()).encode(), max_nodes=1000)


@pytest.mark.parametrize(
    ("structure", "tasks", "edges"),
    [(Structure.DIAMOND, 9, 14), (Structure.REDUCE, 8, 7), (Structure.SEQUENTIAL, 7, 6)],
)
def test_a_structure_has_its_tasks_and_edges(structure: Structure, tasks: int, edges: int) -> None:
    app = application(structure)
    nodes = described(app).nodes
    assert len(nodes) == app.tasks == tasks
    assert sum(len(node.depends_on) for node in nodes) == edges
    assert nodes[-1].id == LAST
    assert all(node.body["agentos_mock"] == {"bytes": 10, "sleep_seconds": 0.5} for node in nodes)


def test_a_bag_has_its_tasks_one_by_one() -> None:
    app = application(Structure.BAG)
    assert (app.tasks, app.inputs) == (7, 7)
    (node,) = described(app).nodes
    assert node.body["messages"][0]["content"] == "data 0"


@pytest.mark.parametrize("structure", GRAPHS)
def test_fresh_data_go_in_once(structure: Structure) -> None:
    app = application(structure)
    prompts = [node.body["messages"][0]["content"] for node in described(app).nodes]
    assert [prompt for prompt in prompts if "data" in prompt] == [f"data {number}" for number in range(app.inputs)]


@pytest.mark.parametrize("structure", [Structure.DIAMOND, Structure.REDUCE])
def test_the_last_task_takes_what_all_have_made(structure: Structure) -> None:
    last = described(application(structure)).nodes[-1]
    assert len(last.depends_on) == 7
    assert last.body["messages"][0]["content"] == " ".join(f"${{{{ {id} }}}}" for id in last.depends_on)


@pytest.mark.parametrize("structure", GRAPHS)
def test_one_task_is_enough(structure: Structure) -> None:
    assert described(application(structure, count=1)).nodes[-1].id == LAST


def test_a_warmup_task_is_empty() -> None:
    (node,) = parse(json.dumps(warmup(application(Structure.BAG)).description()).encode(), max_nodes=1).nodes
    assert node.body["agentos_mock"] == {"text": ""}
