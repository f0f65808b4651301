"""Whole answers as the chunks of a stream."""

from __future__ import annotations

import json

from coordinator.openai import as_chunks


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
    first, usage = (json.loads(each) for each in as_chunks("chat", json.dumps(whole).encode(), include_usage=True))
    assert first["object"] == "chat.completion.chunk"
    assert first["choices"][0]["delta"]["tool_calls"] == [{"index": 0, **call}]
    assert first["choices"][0]["finish_reason"] == "stop"
    assert "usage" not in first
    assert (usage["choices"], usage["usage"]) == ([], {"total_tokens": 3})
    assert len(as_chunks("chat", json.dumps(whole).encode(), include_usage=False)) == 1


def test_a_whole_text_completion_becomes_chunks_of_its_own_kind() -> None:
    choices = [{"index": 0, "text": "hi", "logprobs": None, "finish_reason": "stop"}]
    whole = {"id": "x", "object": "text_completion", "choices": choices, "usage": {"total_tokens": 3}}
    encoded = as_chunks("text_completion", json.dumps(whole).encode(), include_usage=True)
    said, usage = (json.loads(each) for each in encoded)
    assert said == {"id": "x", "object": "text_completion", "choices": choices}
    assert (usage["choices"], usage["usage"]) == ([], {"total_tokens": 3})
