from __future__ import annotations

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
