"""What is taken for the text of a response."""

from __future__ import annotations

import json
from typing import Any

import pytest

from core.outputs import output_text


def chat(content: Any) -> str:
    return json.dumps({"choices": [{"index": 0, "message": {"role": "assistant", "content": content}}], "usage": {}})


@pytest.mark.parametrize(
    ("response", "text"),
    [
        (chat("hello"), "hello"),
        (chat(None), ""),
        (chat(""), ""),
        ('{"choices": [{"message": {"tool_calls": []}}]}', ""),
        ('{"choices": [{"message": {"content": "a"}}], "data": 5}', "a"),
        ('{"choices": [{"text": "hello", "index": 0}, {"text": "b"}]}', "hello"),
        ('{"choices": [{"text": ""}]}', ""),
        ('{"object": "list", "data": [{"index": 0, "embedding": [1.50, -2e-3]}]}', "[1.50, -2e-3]"),
        ('{"data": [{"embedding": [1]}, {"embedding": [2]}]}', "[[1],[2]]"),
        ('{"data": [{"embedding": "AACAPw=="}]}', '"AACAPw=="'),
    ],
)
def test_the_output_of_a_response_is_its_text_or_its_vectors(response: str, text: str) -> None:
    assert output_text(response) == output_text(response.encode()) == text


@pytest.mark.parametrize(
    "response",
    [
        '{"choices": []}',
        '{"choices": [{}]}',
        '{"data": []}',
        '{"data": [1.5]}',
        '{"data": [{"url": "x"}]}',
        chat([{"type": "text"}]),
        "no JSON, å",
        pytest.param("[" * 5000 + "]" * 5000, id="deep"),
    ],
)
def test_of_anything_else_it_is_the_whole(response: str) -> None:
    assert output_text(response) == output_text(response.encode()) == response
