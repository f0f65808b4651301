"""Answers to text completions and embeddings, on their way to the client: added up, made into chunks, counted."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.messages import Usage
from workernode.backends.base import Progress
from workernode.backends.relay import StreamRelay
from workernode.errors import CallFailed
from workernode.stream import Assembler, carries_text, chunks_of
from workernode.usage import estimated_usage

texts = st.text(max_size=20)
log_probabilities = st.none() | st.fixed_dictionaries(
    {"tokens": st.lists(texts, max_size=3), "top_logprobs": st.lists(st.dictionaries(texts, st.floats(-9, 0)))}
)
completions = st.builds(
    lambda texts, logprobs, usage: {
        "id": "cmpl-1",
        "object": "text_completion",
        "created": 1,
        "model": "m",
        "choices": [
            {"text": text, "index": index, "logprobs": logprobs, "finish_reason": "stop"}
            for index, text in enumerate(texts)
        ],
        **usage,
    },
    st.lists(texts, min_size=1, max_size=3),
    log_probabilities,
    st.sampled_from([{}, {"usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}}]),
)


@given(completions)
def test_the_chunks_of_a_text_completion_add_up_to_it(answer: dict[str, Any]) -> None:
    whole = Assembler("text_completion")
    for chunk in chunks_of(answer, "text_completion", with_usage=True):
        assert chunk["object"] == "text_completion"
        whole.add(json.loads(json.dumps(chunk)))
    assert whole.finished
    assert whole.answer() == answer


class Kept(list[dict[str, Any]]):
    """A sink."""

    def chunk(self, data: bytes) -> None:
        self.append(json.loads(data))


def relay_of(body: dict[str, Any], chunks: Kept | None = None) -> StreamRelay:
    return StreamRelay(body, chunks, progress=Progress(), secret="")


def event(**chunk: Any) -> bytes:
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


def test_a_stream_of_a_text_completion_is_passed_on_and_put_together() -> None:
    chunks = Kept()
    relay = relay_of({"prompt": "x"}, chunks)
    for text, reason in (("Wa", None), ("ter", None), ("", "stop")):
        relay.feed(event(id="c", choices=[{"index": 0, "text": text, "finish_reason": reason}]))
    relay.feed(event(id="c", choices=[], usage={"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}))
    relay.feed(b"data: [DONE]\n\n")
    answer = relay.close()
    assert [chunk["choices"][0]["text"] for chunk in chunks] == ["Wa", "ter", ""]
    whole = json.loads(answer.response)
    assert (whole["object"], whole["choices"]) == (
        "text_completion",
        [{"index": 0, "text": "Water", "finish_reason": "stop"}],
    )
    assert (answer.usage, answer.estimated) == (Usage(1, 2, 3), False)
    assert answer.first_token_at is not None


ANSWERS: dict[str, dict[str, Any]] = {
    "messages": {"choices": [{"index": 0, "message": {"content": "a"}}]},
    "prompt": {"choices": [{"index": 0, "text": "a"}]},
    "input": {"data": [{"index": 0, "embedding": [1.0]}]},
}


@pytest.mark.parametrize("asked", ANSWERS)
@pytest.mark.parametrize("answered", ANSWERS)
def test_only_the_answer_to_what_was_asked_is_one(asked: str, answered: str) -> None:
    relay = relay_of({asked: "x"})
    data = json.dumps(ANSWERS[answered]).encode()
    if asked == answered:
        assert relay.plain(data).response == data
        return
    with pytest.raises(CallFailed) as failed:
        relay.plain(data)
    assert failed.value.verdict.error["code"] == "upstream_bad_response"


@pytest.mark.parametrize("embedding", [None, 1.0, {}])
def test_an_embedding_is_a_list_or_a_text(embedding: Any) -> None:
    with pytest.raises(CallFailed):
        relay_of({"input": "x"}).plain(json.dumps({"data": [{"embedding": embedding}]}).encode())


def test_embeddings_asked_for_in_a_stream_are_one_chunk() -> None:
    chunks = Kept()
    relay_of({"input": "x"}, chunks).plain(json.dumps(ANSWERS["input"]).encode())
    assert chunks == [ANSWERS["input"]]


@pytest.mark.parametrize(("text", "carries"), [("", False), ("a", True), (None, False)])
def test_the_first_token_of_a_text_completion_is_its_first_text(text: str | None, carries: bool) -> None:
    assert carries_text({"choices": [{"index": 0, "text": text}]}) is carries


@pytest.mark.parametrize(
    ("body", "prompt"),
    [
        ({"prompt": "abcde"}, 2),
        ({"prompt": ["abcde", "a"]}, 3),
        ({"input": [1, 2, 3]}, 3),
        ({"input": [[1, 2], [3]]}, 3),
        ({"input": None}, 0),
        ({}, 0),
    ],
)
def test_an_estimate_counts_texts_by_their_bytes_and_tokens_as_such(body: dict[str, Any], prompt: int) -> None:
    answer = {"choices": [{"text": "abcdefgh"}]}
    assert estimated_usage(body, answer) == Usage(prompt, 2, prompt + 2)
