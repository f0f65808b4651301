from __future__ import annotations

import json

import pytest

from coordinator.graph.references import ReferenceFailed
from tests.coordinator.graph.sketches import answer, graph, node, result


@pytest.mark.parametrize(
    ("content", "documents", "reason"),
    [
        ("${{ a $.x }}", {1: answer("no JSON")}, "not a JSON text"),
        ("x ${{ a $.x }}", {1: answer("{}")}, "finds nothing"),
        ("${{ a.response }}", {1: "no JSON"}, "not a JSON text"),
        ("${{ a }}", {}, "no document doc_1"),
        ("${{ document:9 }}", {1: answer("")}, "no document doc_9"),
    ],
)
def test_a_body_that_cannot_be_made_says_where_and_why(content: str, documents: dict[int, str], reason: str) -> None:
    made = graph(node("a"), node("b", content, depends_on=["a"]))
    made.settle("a", result(document=1))
    with pytest.raises(ReferenceFailed) as failed:
        made.body("b", documents)
    assert failed.value.pointer == "/messages/0/content"
    assert reason in failed.value.reason


def test_a_body_is_made_of_outputs_responses_and_documents() -> None:
    spec = node("b")
    spec["body"] = {
        "messages": [
            "${{ a.response $.choices[0].message }}",
            {"role": "tool", "content": "${{ a }}/${{ document:9 }}"},
        ],
        "max_tokens": "${{ document:9 $.n }}",
        "model": "own",
    }
    made = graph(node("a"), spec)
    made.settle("a", result(document=1))
    assert made.documents("b") == [1, 9] or made.documents("b") == [9, 1]
    body = made.body("b", {1: answer("hi"), 9: '{"n": 4}'})
    assert body == {
        "model": "own",
        "messages": [{"content": "hi"}, {"role": "tool", "content": 'hi/{"n": 4}'}],
        "max_tokens": 4,
    }
    assert made.body("a", {}) == {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def test_a_message_must_become_an_object() -> None:
    spec = node("b")
    spec["body"] = {"messages": [{"role": "user"}, "${{ a }}"]}
    made = graph(node("a"), spec)
    made.settle("a", result(document=1))
    with pytest.raises(ReferenceFailed) as failed:
        made.body("b", {1: answer("SECRET")})
    assert failed.value.pointer == "/messages/1"
    assert "SECRET" not in str(failed.value)


def test_a_node_without_a_response_has_no_output() -> None:
    made = graph(node("a"), node("b", "${{ a }}"))
    made.settle("a", result())
    assert made.documents("b") == []
    with pytest.raises(ReferenceFailed, match="'a' has no response"):
        made.body("b", {})


@pytest.mark.parametrize("field", ["prompt", "input"])
def test_texts_are_made_of_outputs(field: str) -> None:
    spec = node("b")
    spec["body"] = {field: ["Say ${{ a }}", "${{ document:9 }}"]}
    made = graph(node("a"), spec)
    made.settle("a", result(document=1))
    assert made.body("b", {1: answer("hi"), 9: "x"}) == {"model": "m", field: ["Say hi", "x"]}


@pytest.mark.parametrize("field", ["prompt", "input"])
@pytest.mark.parametrize(("output", "right"), [("[1, 2]", True), ('["a", "b"]', True), ("[]", False), ("{}", False)])
def test_what_a_reference_leads_to_must_be_texts(field: str, output: str, right: bool) -> None:
    spec = node("b")
    spec["body"] = {field: "${{ a $ }}"}
    made = graph(node("a"), spec)
    made.settle("a", result(document=1))
    if right:
        assert made.body("b", {1: answer(output)})[field] == json.loads(output)
        return
    with pytest.raises(ReferenceFailed) as failed:
        made.body("b", {1: answer(output)})
    assert failed.value.pointer == f"/{field}"


def test_a_vector_may_go_on_as_what_it_is() -> None:
    spec = node("b")
    spec["body"] = {"messages": [{"role": "user", "content": "${{ a }}"}], "vector": "${{ a $ }}"}
    made = graph(node("a"), spec)
    made.settle("a", result(document=1))
    body = made.body("b", {1: '{"data": [{"index": 0, "embedding": [0.5, 1.0]}]}'})
    assert (body["messages"][0]["content"], body["vector"]) == ("[0.5, 1.0]", [0.5, 1.0])
