"""Stages that embed or complete texts."""

from __future__ import annotations

import pytest

from coordinator.graph.graph import Graph
from coordinator.pipelines.template import Asked
from tests.coordinator.graph.sketches import result
from tests.coordinator.pipelines.test_template import refused, stage, template


def test_a_vector_goes_from_stage_to_stage() -> None:
    embed = stage("embed", body={"input": "${{ input $.question }}", "dimensions": 2})
    search = stage("search", body={"prompt": "Near ${{ embed }}:", "vector": "${{ embed $ }}"})
    graph = Graph(template(embed, search).task(Asked(input={"question": "where?"})))
    assert graph.take_ready() == ["embed"]
    assert graph.body("embed", {}) == {"model": "m-embed", "input": "where?", "dimensions": 2}
    graph.settle("embed", result(document=1))
    made = graph.body("search", {1: '{"object": "list", "data": [{"index": 0, "embedding": [0.5, 1.0]}]}'})
    assert made == {"model": "m-search", "prompt": "Near [0.5, 1.0]:", "vector": [0.5, 1.0]}


@pytest.mark.parametrize("body", [{"input": []}, {"prompt": None}, {"input": ["a", 1]}])
def test_a_stage_with_texts_of_a_wrong_form_is_refused(body: dict[str, object]) -> None:
    pointer, _ = refused(stage("a", body=body))
    assert pointer == f"/stages/0/body/{next(iter(body))}"
