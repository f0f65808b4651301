"""OpenAI's formats at the door."""

from __future__ import annotations

import json
from typing import Any

import pytest

from coordinator.openai import RequestRefused, as_chunks, parse_chat

MESSAGES = [{"role": "user", "content": "hi"}]


def body(**fields: Any) -> bytes:
    return json.dumps({"model": "m", "messages": MESSAGES} | fields).encode()


def test_a_body_with_fields_that_nobody_knows_is_taken() -> None:
    chat = parse_chat(body(stream=True, new_feature={"x": [1]}))
    assert (chat.model, chat.stream) == ("m", True)


@pytest.mark.parametrize(
    ("sent", "param"),
    [
        (b'{"messages": []}', "model"),
        (body(model=5), "model"),
        (body(messages="hello"), "messages"),
        (body(messages=["hello"]), "messages[0]"),
        (body(messages=[]), "messages"),
        (body(stream="yes"), "stream"),
        (b"[]", None),
    ],
)
def test_a_wrong_type_is_refused_with_its_place(sent: bytes, param: str | None) -> None:
    with pytest.raises(RequestRefused) as refused:
        parse_chat(sent)
    assert refused.value.status == 400
    assert (refused.value.error["type"], refused.value.error["param"]) == ("invalid_request_error", param)
    assert "hello" not in str(refused.value)


@pytest.mark.parametrize(
    "sent", [b"", b"{", b'{"model": "m",}', b"\xff\xfe{}", b'{"model":"m","messages":[{"a":"\xff"}]}']
)
def test_what_is_no_json_is_refused_as_such(sent: bytes) -> None:
    with pytest.raises(RequestRefused) as refused:
        parse_chat(sent)
    assert (refused.value.status, refused.value.error["code"]) == (400, "invalid_json")


def test_a_whole_answer_becomes_chunks() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    whole = {
        "id": "x",
        "object": "chat.completion",
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "hi", "tool_calls": [call]},
                "finish_reason": "stop",
            }
        ],
        "usage": {"total_tokens": 3},
    }
    first, usage = (json.loads(each) for each in as_chunks(json.dumps(whole).encode(), include_usage=True))
    assert first["object"] == "chat.completion.chunk"
    assert first["choices"][0]["delta"]["tool_calls"] == [{"index": 0, **call}]
    assert first["choices"][0]["finish_reason"] == "stop"
    assert "usage" not in first
    assert (usage["choices"], usage["usage"]) == ([], {"total_tokens": 3})
    assert len(as_chunks(json.dumps(whole).encode(), include_usage=False)) == 1
