from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.messages import Usage
from workernode.stream import (
    Assembler,
    EventParser,
    carries_text,
    chunks_of,
    is_usage_chunk,
)
from workernode.usage import estimated_usage, usage_of


def events(*pieces: bytes) -> list[bytes]:
    parser = EventParser()
    return [event for piece in pieces for event in parser.feed(piece)] + parser.close()


@pytest.mark.parametrize(
    ("stream", "found"),
    [
        (b"data: a\n\ndata: b\n\n", [b"a", b"b"]),
        (b"data:a\n\n", [b"a"]),
        (b"data:  a\n\n", [b" a"]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", [b"a", b"b"]),
        (b"data: a\r\rdata: b\r\r", [b"a", b"b"]),
        (b"data: a\ndata: b\n\n", [b"a\nb"]),
        (b": a comment\n\ndata: a\n\n", [b"a"]),
        (b"event: x\nid: 1\nretry: 5\ndata: a\n\n", [b"a"]),
        (b"data: a\n\n\n\n\ndata: b\n\n", [b"a", b"b"]),
        (b"data: a", [b"a"]),
        (b"data: a\r", [b"a"]),
        (b"data: \xe2\x82\xac\n\n", ["€".encode()]),
        (b"", []),
        (b"<html>\n\n", []),
    ],
)
def test_events(stream: bytes, found: list[bytes]) -> None:
    assert events(stream) == found


@given(
    st.lists(st.sampled_from([b"data: a", b"data:b", b": c", b"", b"x", b"event: e", "data: é".encode()])),
    st.sampled_from([b"\n", b"\r\n", b"\r"]),
    st.data(),
)
def test_events_are_the_same_wherever_the_bytes_are_cut(lines: list[bytes], end: bytes, data: st.DataObject) -> None:
    stream = end.join([*lines, b"data: last", b"", b""])
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)))))
    pieces = [stream[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert events(*pieces) == events(stream)
    assert events(*pieces)[-1].endswith(b"last")


def test_an_event_is_there_as_soon_as_its_end_is() -> None:
    parser = EventParser()
    assert parser.feed(b"data: a\n") == []
    assert parser.feed(b"\nda") == [b"a"]


texts = st.text(max_size=20)
tool_calls = st.lists(
    st.fixed_dictionaries(
        {
            "id": texts,
            "type": st.just("function"),
            "function": st.fixed_dictionaries({"name": texts, "arguments": texts}),
        }
    ),
    min_size=1,
    max_size=3,
)
log_probabilities = st.none() | st.fixed_dictionaries(
    {"content": st.lists(st.fixed_dictionaries({"token": texts, "logprob": st.floats(-9, 0)}), max_size=3)}
)
messages = st.fixed_dictionaries(
    {"role": st.just("assistant"), "content": st.none() | texts},
    optional={"refusal": st.none() | texts, "reasoning_content": texts, "tool_calls": tool_calls, "brand_new": texts},
)
answers = st.builds(
    lambda messages, logprobs, usage, extra: {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        **extra,
        "choices": [
            {"index": index, "message": message, "logprobs": logprobs, "finish_reason": "stop"}
            for index, message in enumerate(messages)
        ],
        **usage,
    },
    st.lists(messages, min_size=1, max_size=3),
    log_probabilities,
    st.sampled_from([{}, {"usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}}]),
    st.sampled_from([{}, {"system_fingerprint": "fp", "timings": {"ms": 1.5}}]),
)


def assembled(chunks: list[dict[str, Any]]) -> dict[str, Any]:
    whole = Assembler()
    for chunk in chunks:
        whole.add(json.loads(json.dumps(chunk)))
    assert whole.finished
    return whole.answer()


@given(answers)
def test_the_chunks_of_an_answer_add_up_to_it(answer: dict[str, Any]) -> None:
    assert assembled(list(chunks_of(answer, with_usage=True))) == answer


def cut(chunk: dict[str, Any], data: st.DataObject) -> list[dict[str, Any]]:
    """A chunk as several, each with a part of its texts."""
    choices = chunk["choices"]
    if not choices or not (content := choices[0]["delta"].get("content")):
        return [chunk]
    at = data.draw(st.integers(0, len(content)))
    first, second = json.loads(json.dumps(chunk)), json.loads(json.dumps(chunk))
    first["choices"][0]["delta"]["content"] = content[:at]
    second["choices"][0] = {"index": choices[0]["index"], "delta": {"content": content[at:]}, "finish_reason": None}
    return [first, second]


@given(answers, st.data())
def test_it_does_not_matter_how_a_text_is_cut_into_chunks(answer: dict[str, Any], data: st.DataObject) -> None:
    pieces = [piece for chunk in chunks_of(answer, with_usage=True) for piece in cut(chunk, data)]
    assert assembled(pieces) == answer


def chunk_of(finish_reason: str | None = None, index: int = 0, **delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": index, "delta": delta, "finish_reason": finish_reason}]}


def test_tool_calls_are_merged_by_their_index() -> None:
    whole = assembled(
        [
            chunk_of(role="assistant", content=None),
            chunk_of(
                tool_calls=[{"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}]
            ),
            chunk_of(tool_calls=[{"index": 0, "function": {"arguments": '{"x'}}]),
            chunk_of(tool_calls=[{"index": 1, "id": "b", "function": {"name": "g", "arguments": "{}"}}]),
            chunk_of(tool_calls=[{"index": 0, "function": {"arguments": '": 1}'}}]),
            chunk_of("tool_calls"),
        ]
    )
    assert whole["choices"][0]["finish_reason"] == "tool_calls"
    assert whole["choices"][0]["message"] == {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}},
            {"id": "b", "function": {"name": "g", "arguments": "{}"}},
        ],
    }


def test_names_that_are_repeated_in_every_chunk_are_not_joined() -> None:
    whole = assembled([chunk_of(role="assistant", content="a"), chunk_of("stop", role="assistant", content="b")])
    assert whole["choices"][0]["message"] == {"role": "assistant", "content": "ab"}


def test_choices_are_kept_apart_and_in_order() -> None:
    whole = assembled(
        [chunk_of(index=1, content="b"), chunk_of(index=0, content="a"), chunk_of("stop", 0), chunk_of("length", 1)]
    )
    assert [(c["index"], c["message"]["content"], c["finish_reason"]) for c in whole["choices"]] == [
        (0, "a", "stop"),
        (1, "b", "length"),
    ]


def test_an_answer_is_finished_when_each_choice_is() -> None:
    whole = Assembler()
    assert (whole.begun, whole.finished) == (False, False)
    whole.add(chunk_of(content="a"))
    whole.add(chunk_of("stop", index=1))
    assert (whole.begun, whole.finished) == (True, False)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc") | texts, inner, max_size=3),
    max_leaves=4,
)


@given(st.lists(st.dictionaries(st.sampled_from(["choices", "usage", "id", "x"]), json_values)))
def test_no_json_breaks_the_assembler(chunks: list[dict[str, Any]]) -> None:
    whole = Assembler()
    for chunk in chunks:
        whole.add(chunk)
        carries_text(chunk)
        is_usage_chunk(chunk)
    answer = whole.answer()
    json.dumps(answer)
    usage_of(answer)
    estimated_usage({"messages": [answer]}, answer)


@given(st.lists(st.dictionaries(st.sampled_from(["role", "content", "tool_calls", "logprobs", "x"]), json_values)))
def test_no_delta_breaks_the_assembler(deltas: list[dict[str, Any]]) -> None:
    whole = Assembler()
    for delta in deltas:
        chunk = {"choices": [{"index": 0, "delta": delta, **delta}]}
        carries_text(chunk)
        whole.add(chunk)
    answer = whole.answer()
    json.dumps(answer)
    estimated_usage({}, answer)


@pytest.mark.parametrize(
    ("delta", "carries"),
    [
        ({"role": "assistant"}, False),
        ({"role": "assistant", "content": ""}, False),
        ({"content": "a"}, True),
        ({"reasoning_content": "a"}, True),
        ({"tool_calls": [{"index": 0}]}, True),
        ({}, False),
    ],
)
def test_the_first_token_is_the_first_text(delta: dict[str, Any], carries: bool) -> None:
    assert carries_text(chunk_of(**delta)) is carries


@pytest.mark.parametrize(
    ("usage", "found"),
    [
        ({"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 4}, Usage(1, 2, 4)),
        ({"input_tokens": 1, "output_tokens": 2}, Usage(1, 2, 3)),
        ({"prompt_tokens": 5}, Usage(5, 0, 5)),
        (
            {
                "input_tokens": 1,
                "output_tokens": 2,
                "input_tokens_details": {"cached_tokens": 1},
                "output_tokens_details": {"reasoning_tokens": 2},
            },
            Usage(1, 2, 3, {"cached_tokens": 1}, {"reasoning_tokens": 2}),
        ),
        ({}, None),
        (None, None),
        ({"prompt_tokens": "1", "completion_tokens": -2}, None),
        ({"prompt_tokens": True, "completion_tokens": 2.5}, None),
    ],
)
def test_usage_is_found_by_either_names_and_never_made_of_nonsense(usage: Any, found: Usage | None) -> None:
    assert usage_of({"usage": usage}) == found


def test_an_estimate_counts_texts_by_their_bytes_and_leaves_pictures_out() -> None:
    parts = [{"type": "text", "text": "abcde"}, {"type": "image_url", "image_url": {"url": "data:" + "x" * 9000}}]
    body = {"messages": [{"role": "user", "content": parts}, {"role": "user", "content": "€€"}]}
    answer = {"choices": [{"message": {"role": "assistant", "content": None, "reasoning_content": "abcd"}}]}
    assert estimated_usage(body, answer) == Usage(4, 1, 5, None, {"reasoning_tokens": 1})


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_reasoning_that_a_broken_stream_showed_is_estimated_as_such(name: str) -> None:
    answer = {"choices": [{"message": {"content": "abcdefgh", name: "abcd" * 3}}]}
    assert estimated_usage({}, answer) == Usage(0, 5, 5, None, {"reasoning_tokens": 3})


def test_cached_and_reasoning_tokens_that_a_stream_states_are_kept() -> None:
    usage = {
        "prompt_tokens": 9,
        "completion_tokens": 8,
        "total_tokens": 17,
        "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 6},
    }
    whole = Assembler()
    whole.add({"id": "c", "choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": "stop"}]})
    whole.add({"id": "c", "choices": [], "usage": usage})
    assert usage_of(whole.answer()) == Usage(
        9, 8, 17, {"cached_tokens": 4, "audio_tokens": 0}, {"reasoning_tokens": 6}
    )
