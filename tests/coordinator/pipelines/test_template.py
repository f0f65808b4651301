from __future__ import annotations

import json
from typing import Any

import pytest

from coordinator.graph.description import DescriptionRefused, decode
from coordinator.graph.description import encode as encode_description
from coordinator.graph.description import parse as parse_task
from coordinator.graph.graph import Graph
from coordinator.graph.specs import PipelineRequest
from coordinator.pipelines.template import Asked, Template, encode, read_asked, read_pipeline, template_of
from tests.coordinator.graph.sketches import answer, result


def stage(id: str, **fields: Any) -> dict[str, Any]:
    return {"id": id, "model": f"m-{id}", "profile": {"1": 0.1}, **fields}


def template(*stages: dict[str, Any], **fields: Any) -> Template:
    return read_pipeline("p", json.dumps({"slo_seconds": 2, "stages": list(stages), **fields}).encode())


def refused(*stages: dict[str, Any], **fields: Any) -> tuple[str, str]:
    with pytest.raises(DescriptionRefused) as caught:
        template(*stages, **fields)
    return caught.value.pointer, caught.value.message


def test_a_request_is_a_task_with_one_node_a_stage() -> None:
    made = template(stage("a"), stage("b", after=["a"]))
    task = made.task(Asked(input="hello", user="alice"))
    assert [(node.id, node.model, node.depends_on) for node in task.nodes] == [("a", "m-a", []), ("b", "m-b", ["a"])]
    assert task.pipeline == PipelineRequest(name="p", input="hello", slo_seconds=2.0)
    assert (task.deadline_seconds, task.user) == (2.0, "alice")


def test_it_survives_its_way_through_the_store() -> None:
    made = template(stage("a"), stage("b", after=["a"]))
    assert template_of(encode(made)).pipeline == made.pipeline
    task = made.task(Asked(input={"x": [1]}))
    assert decode(encode_description(task)) == task


def test_the_input_is_what_its_reference_stands_for() -> None:
    body = {
        "messages": [{"role": "user", "content": "about ${{ input $.topic }}: ${{ input }}"}],
        "n": "${{ input $.n }}",
    }
    graph = Graph(template(stage("a", body=body)).task(Asked(input={"topic": "sea", "n": 2})))
    assert graph.take_ready() == ["a"]
    assert graph.documents("a") == []
    made = graph.body("a", {})
    assert made["messages"][0]["content"] == 'about sea: {"topic":"sea","n":2}'
    assert (made["n"], made["model"]) == (2, "m-a")


def test_a_stage_without_a_body_hands_on_what_it_gets() -> None:
    graph = Graph(template(stage("a"), stage("b", after=["a"])).task(Asked(input="hello")))
    assert graph.body("a", {})["messages"][0]["content"] == "hello"
    graph.settle("a", result(document=1))
    assert graph.body("b", {1: answer("done")})["messages"][0]["content"] == "done"


def test_an_input_that_looks_like_a_reference_is_text() -> None:
    graph = Graph(template(stage("a")).task(Asked(input="${{ b }}")))
    assert graph.body("a", {})["messages"][0]["content"] == "${{ b }}"


def test_a_body_that_names_a_stage_needs_it() -> None:
    body = {"messages": [{"role": "user", "content": "${{ a }}"}]}
    made = template(stage("b", body=body), stage("a"))
    assert [each.id for each in made.pipeline.stages] == ["a", "b"]
    assert made.pipeline.stages[1].after == ["a"]


def test_without_drops_nothing_ends_a_request() -> None:
    assert template(stage("a"), policy="none").task(Asked(input="")).deadline_seconds is None
    assert template(stage("a")).task(Asked(input="", slo_seconds=9)).deadline_seconds == 9


@pytest.mark.parametrize(
    ("stages", "fields", "pointer"),
    [
        ([], {}, "/stages"),
        ([stage("a"), stage("a")], {}, "/stages/1/id"),
        ([stage("a"), stage("b", model="m-a")], {}, "/stages/1/model"),
        ([stage("a", after=["z"])], {}, "/stages/0/after/0"),
        ([stage("a", after=["a"])], {}, "/stages/0"),
        ([stage("input")], {}, "/stages/0/id"),
        ([stage("a", body={"messages": [{"content": "${{ z }}"}]})], {}, "/stages/0/body/messages/0/content"),
        ([stage("a", body={"messages": []})], {}, "/stages/0/body/messages"),
        ([stage("a", profile={})], {}, "/stages/0/profile"),
        ([stage("a", workers={"least": 3, "most": 2})], {}, "/stages/0/workers"),
        ([stage("a", colour="red")], {}, "/stages/0/colour"),
        ([stage("a")], {"slo_seconds": 0}, "/slo_seconds"),
        ([stage("a")], {"policy": "best"}, "/policy"),
        ([stage("a")], {"name": "q"}, "/name"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_place(
    stages: list[dict[str, Any]], fields: dict[str, Any], pointer: str
) -> None:
    assert refused(*stages, **fields)[0] == pointer


def test_tasks_name_no_pipeline() -> None:
    body = {
        "nodes": [{"id": "a", "model": "m", "body": {"messages": [{}]}}],
        "pipeline": {"name": "p", "input": 1, "slo_seconds": 1},
    }
    with pytest.raises(DescriptionRefused, match="/v1/pipelines"):
        parse_task(json.dumps(body).encode(), max_nodes=10)


def test_a_request_without_an_input_is_refused() -> None:
    with pytest.raises(DescriptionRefused, match="input is missing"):
        read_asked(b"{}")
