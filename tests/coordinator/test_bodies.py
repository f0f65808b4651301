"""The bodies of OpenAI's calls at the door."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.operations import PATHS, Operation, operation_of
from coordinator.bodies import Asked, parse
from coordinator.openai import RequestRefused

FIELDS: dict[Operation, dict[str, Any]] = {
    "chat": {"messages": [{"role": "user", "content": "hi"}]},
    "text_completion": {"prompt": "hi"},
    "embeddings": {"input": "hi"},
}
OPERATIONS = tuple(PATHS)


def body(operation: Operation = "chat", **fields: Any) -> bytes:
    return json.dumps({"model": "m", **FIELDS[operation], **fields}).encode()


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_body_with_fields_that_nobody_knows_is_taken(operation: Operation) -> None:
    asked = parse(operation, body(operation, stream=False, new_feature={"x": [1]}))
    assert asked == Asked(operation, "m", stream=False, include_usage=False)


@pytest.mark.parametrize("operation", ["chat", "text_completion"])
def test_a_stream_may_be_asked_for_with_its_usage(operation: Operation) -> None:
    asked = parse(operation, body(operation, stream=True, stream_options={"include_usage": True}))
    assert asked == Asked(operation, "m", stream=True, include_usage=True)


@pytest.mark.parametrize("operation", ["text_completion", "embeddings"])
@pytest.mark.parametrize("texts", ["", "a", ["a"], ["a", ""], [1, 2], [[1], [2, 3]]])
def test_texts_come_alone_or_in_lists_as_they_are_or_as_tokens(operation: Operation, texts: Any) -> None:
    field = next(iter(FIELDS[operation]))
    assert parse(operation, body(operation, **{field: texts})).operation == operation


@pytest.mark.parametrize("operation", ["text_completion", "embeddings"])
@pytest.mark.parametrize(
    "texts", [None, [], [[]], [[1], []], 5, {}, True, ["a", 1], [1, [1]], [[1], ["secret"]], [True], [1.5], [None]]
)
def test_other_texts_are_refused(operation: Operation, texts: Any) -> None:
    field = next(iter(FIELDS[operation]))
    with pytest.raises(RequestRefused) as refused:
        parse(operation, body(operation, **{field: texts}))
    assert (refused.value.status, refused.value.error["param"]) == (400, field)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("operation", "sent", "param"),
    [
        ("chat", b'{"messages": []}', "model"),
        ("chat", body(model=5), "model"),
        ("chat", body(messages="hello"), "messages"),
        ("chat", body(messages=["hello"]), "messages[0]"),
        ("chat", body(messages=[]), "messages"),
        ("chat", body(stream="yes"), "stream"),
        ("chat", b"[]", None),
        ("text_completion", b'{"model": "m"}', "prompt"),
        (
            "text_completion",
            body("text_completion", stream_options={"include_usage": 1}),
            "stream_options.include_usage",
        ),
        ("text_completion", body("chat", prompt="x"), "messages"),
        ("embeddings", b'{"model": "m"}', "input"),
        ("embeddings", body("embeddings", stream=True), "stream"),
        ("embeddings", body("embeddings", prompt="x"), "prompt"),
        ("embeddings", body("embeddings", messages=None), "messages"),
    ],
)
def test_what_is_wrong_is_refused_with_its_place(operation: Operation, sent: bytes, param: str | None) -> None:
    with pytest.raises(RequestRefused) as refused:
        parse(operation, sent)
    assert refused.value.status == 400
    assert (refused.value.error["type"], refused.value.error["param"]) == ("invalid_request_error", param)
    assert "hello" not in str(refused.value)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(
    "sent",
    [b"", b"{", b'{"model": "m",}', b"\xff\xfe{}", b'{"model":"m","a":"\xff"}', b'{"a":' * 5000 + b"1" + b"}" * 5000],
)
def test_what_is_no_json_is_refused_as_such(operation: Operation, sent: bytes) -> None:
    with pytest.raises(RequestRefused) as refused:
        parse(operation, sent)
    assert (refused.value.status, refused.value.error["code"]) == (400, "invalid_json")


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=6,
)
names = st.sampled_from(["model", "messages", "prompt", "input", "stream", "stream_options", "n"])


@given(st.sampled_from(OPERATIONS), st.dictionaries(names, anything | st.just("m")))
def test_what_is_taken_is_what_workers_will_take_it_for(operation: Operation, fields: dict[str, Any]) -> None:
    with contextlib.suppress(RequestRefused):
        assert parse(operation, json.dumps(fields).encode()).operation == operation == operation_of(fields)
