"""Every shape of input, joined and split again."""

from __future__ import annotations

import base64
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.messages import Usage
from workernode.batching.joining import divide, join, likeness, split

SHAPES: list[Any] = ["one", ["one", "two", "three"], [1, 2, 3], [[1, 2], [3]], ["single in a list"], [[7]]]


def embeddings(value: Any, **fields: Any) -> dict[str, Any]:
    return {"model": "m", "input": value, **fields}


def prompts(value: Any, **fields: Any) -> dict[str, Any]:
    return {"model": "m", "prompt": value, **fields}


def upstream(body: dict[str, Any]) -> dict[str, Any]:
    """What an API that keeps the rules answers: each member tells to which input it belongs, in any order."""
    field = "input" if "input" in body else "prompt"
    value = body[field]
    inputs = value if isinstance(value, list) and not isinstance(value[0], int) else [value]
    tokens = sum(len(each) for each in inputs)
    if field == "input":
        data = [{"object": "embedding", "index": at, "embedding": [str(each)]} for at, each in enumerate(inputs)]
        return {"object": "list", "data": data[::-1], "model": "m", "usage": _usage(tokens, 0)}
    texts = [f"{each} {time}" for each in inputs for time in range(body.get("n", 1))]
    choices = [{"index": at, "text": text, "finish_reason": "stop"} for at, text in enumerate(texts)]
    said = sum(map(len, texts))
    return {"id": "cmpl-1", "object": "text_completion", "choices": choices[::-1], "usage": _usage(tokens, said)}


def _usage(prompt: int, completion: int) -> dict[str, int]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def members(response: dict[str, Any]) -> list[Any]:
    """The parts of an answer by their index."""
    parts = response.get("data") or response["choices"]
    return [{key: part[key] for key in part} for part in sorted(parts, key=lambda part: part["index"])]


@pytest.mark.parametrize("make", [embeddings, prompts])
@pytest.mark.parametrize("fields", [{}, {"n": 3}])
@pytest.mark.parametrize("shapes", [SHAPES[:2] + SHAPES[4:5], SHAPES[2:4] + SHAPES[5:]], ids=["texts", "tokens"])
def test_each_gets_what_it_would_have_got_alone(make: Any, fields: dict[str, Any], shapes: list[Any]) -> None:
    bodies = [make(shape, **({} if make is embeddings else fields)) for shape in shapes]
    assert len({likeness(body) for body in bodies}) == 1
    shares = split(bodies, upstream(join(bodies)))
    assert shares is not None
    for body, share in zip(bodies, shares, strict=True):
        alone = upstream(body)
        assert members(share.response) == members(alone)
        assert share.response["object"] == alone["object"]


def test_a_joint_body_holds_each_input_once_and_all_else_as_it_was() -> None:
    bodies = [embeddings("a", dimensions=8, stream=False), embeddings(["b", "c"], dimensions=8)]
    assert join(bodies) == {"model": "m", "input": ["a", "b", "c"], "dimensions": 8}


def test_what_is_not_alike_is_not_joined() -> None:
    kinds = [
        embeddings("a"),
        embeddings([1, 2]),
        embeddings("a", dimensions=8),
        embeddings("a", encoding_format="base64"),
        {"model": "other", "input": "a"},
        prompts("a"),
        prompts("a", n=2),
        prompts("a", max_tokens=5),
    ]
    assert len({likeness(body) for body in kinds}) == len(kinds)


def test_the_order_of_fields_says_nothing() -> None:
    assert likeness({"model": "m", "input": "a", "dimensions": 8}) == likeness(
        {"dimensions": 8, "input": "b", "model": "m"}
    )


@pytest.mark.parametrize(
    "body",
    [
        {"model": "m", "messages": []},
        embeddings([]),
        embeddings(None),
        embeddings([1, "a"]),
        embeddings(["a", [1]]),
        embeddings([[]]),
        embeddings([True]),
        embeddings([{"type": "text"}]),
        prompts("a", suffix="b"),
        prompts("a", n="2"),
    ],
)
def test_what_goes_by_itself(body: dict[str, Any]) -> None:
    assert likeness(body) is None


def test_embeddings_in_base64_stay_as_they_are() -> None:
    coded = base64.b64encode(struct.pack("<2f", 0.5, 1.5)).decode()
    bodies = [embeddings("a", encoding_format="base64"), embeddings("b", encoding_format="base64")]
    data = [{"object": "embedding", "index": at, "embedding": coded} for at in range(2)]
    shares = split(bodies, {"object": "list", "data": data})
    assert shares is not None
    assert [each.response["data"][0]["embedding"] for each in shares] == [coded, coded]
    assert [each.usage for each in shares] == [None, None]
    assert "usage" not in shares[0].response


@pytest.mark.parametrize(
    "indexes", [[0], [0, 1, 2], [0, 0], [1, 2], ["0", "1"], [0, None]], ids=lambda each: str(each)
)
def test_an_answer_that_does_not_fit_is_told_to_be_none(indexes: list[Any]) -> None:
    response = {"data": [{"index": index, "embedding": [1.0]} for index in indexes]}
    assert split([embeddings("a"), embeddings("b")], response) is None
    assert split([embeddings("a"), embeddings("b")], {"data": "text"}) is None


def test_prompts_are_paid_for_by_the_length_of_inputs_and_answers_by_that_of_texts() -> None:
    choices = [{"index": 0, "text": "x" * 30}, {"index": 1, "text": "x" * 10}]
    shares = split([prompts("a" * 9), prompts("b")], {"choices": choices, "usage": _usage(20, 40)})
    assert shares is not None
    assert [each.usage for each in shares] == [Usage(18, 30, 48), Usage(2, 10, 12)]
    assert shares[0].response["usage"] == {"prompt_tokens": 18, "completion_tokens": 30, "total_tokens": 48}


@given(st.integers(0, 10_000), st.lists(st.integers(0, 1000), min_size=1, max_size=40))
def test_parts_add_up_and_none_is_off_by_a_token(total: int, weights: list[int]) -> None:
    parts = divide(total, weights)
    assert sum(parts) == total
    whole = sum(weights)
    fair = [total * weight / whole if whole else total / len(weights) for weight in weights]
    assert all(abs(part - just) < 1 for part, just in zip(parts, fair, strict=True))


def test_a_total_of_its_own_is_divided_as_well() -> None:
    data = [{"index": 0, "embedding": []}, {"index": 1, "embedding": []}]
    usage = {"prompt_tokens": 3, "total_tokens": 7}
    shares = split([embeddings("a"), embeddings("b")], {"data": data, "usage": usage})
    assert shares is not None
    used = [each.usage for each in shares if each.usage]
    assert sum(each.prompt_tokens for each in used) == 3
    assert sum(each.total_tokens for each in used) == 7
