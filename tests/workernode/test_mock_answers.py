"""What the mock says to each call, in the eyes of the official client's types."""

from __future__ import annotations

import base64
import json
import math
import struct
from collections.abc import Sequence
from typing import Any

import pytest
from openai.types import Completion, CreateEmbeddingResponse
from openai.types.chat import ChatCompletion

from bus.messages import Usage
from workernode.backends.mock_answers import DIMENSIONS, MOST_DIMENSIONS, MockAnswer, vector
from workernode.stream import Assembler

SAID = ("Water ", "boils.")


def answer(said: Sequence[str] = SAID, **body: Any) -> MockAnswer:
    return MockAnswer(body, said, request_id="r", model="m", created=1)


def embedded(**body: Any) -> list[Any]:
    return [each["embedding"] for each in json.loads(answer(**body).whole())["data"]]


def test_each_call_has_an_answer_of_its_own_kind() -> None:
    chat = ChatCompletion.model_validate_json(answer(messages=[{"content": "a b"}]).whole(), strict=True)
    assert (chat.id, chat.model, chat.choices[0].message.content) == ("chatcmpl-r", "m", "Water boils.")
    text = Completion.model_validate_json(answer(prompt=["a b", "c"], model="x").whole(), strict=True)
    assert (text.id, text.model, text.object) == ("cmpl-r", "x", "text_completion")
    assert [(choice.index, choice.text) for choice in text.choices] == [(0, "Water boils."), (1, "Water boils.")]
    found = CreateEmbeddingResponse.model_validate_json(answer(input=["a b", "c"]).whole(), strict=True)
    assert [(each.index, len(each.embedding)) for each in found.data] == [(0, DIMENSIONS), (1, DIMENSIONS)]
    assert (found.usage.prompt_tokens, found.usage.total_tokens) == (3, 3)


@pytest.mark.parametrize(
    ("body", "usage"),
    [
        ({"messages": [{"content": "a b"}, {"content": ["picture"]}]}, Usage(2, 2, 4)),
        ({"prompt": "a b c"}, Usage(3, 2, 5)),
        ({"prompt": ["a", "b c"]}, Usage(3, 4, 7)),
        ({"input": "a b"}, Usage(2, 0, 2)),
        ({"input": [7, 8, 9]}, Usage(3, 0, 3)),
        ({"input": [[7, 8], [9]]}, Usage(3, 0, 3)),
        ({"input": None}, Usage(0, 0, 0)),
        ({}, Usage(0, 2, 2)),
    ],
)
def test_words_and_tokens_are_counted(body: dict[str, Any], usage: Usage) -> None:
    assert answer(**body).usage == usage


@pytest.mark.parametrize("prompt", ["a", ["a", "b"]])
def test_the_chunks_of_a_text_completion_add_up_to_it(prompt: Any) -> None:
    made = answer(prompt=prompt, stream_options={"include_usage": True})
    whole = Assembler("text_completion")
    for chunk in (*made.chunks(), *made.last_chunks()):
        whole.add(json.loads(chunk))
    assert whole.answer() == json.loads(made.whole())


def test_embeddings_come_at_once() -> None:
    made = answer(input="a")
    assert ([*made.chunks()], [*made.last_chunks()]) == ([made.whole()], [])


def test_a_vector_is_made_of_its_text_alone() -> None:
    ours, same, other, tokens = embedded(input=["a", "a", "b", "1"])
    assert ours == same != other
    assert embedded(input="a") == [ours]
    assert embedded(input=[1]) != [tokens]
    assert math.hypot(*ours) == pytest.approx(1.0, abs=1e-6)


def test_both_encodings_tell_the_same() -> None:
    (coded,) = embedded(input="a", encoding_format="base64")
    (plain,) = embedded(input="a", encoding_format="float")
    assert list(struct.unpack(f"<{DIMENSIONS}f", base64.b64decode(coded))) == plain == vector("a", DIMENSIONS)


@pytest.mark.parametrize(
    ("asked", "given"), [(3, 3), (10**9, MOST_DIMENSIONS), (0, DIMENSIONS), ("3", DIMENSIONS), (True, DIMENSIONS)]
)
def test_a_request_may_ask_for_so_many_numbers(asked: Any, given: int) -> None:
    assert [len(each) for each in embedded(input="a", dimensions=asked)] == [given]


@pytest.mark.parametrize(
    "body", [{"input": 5}, {"input": []}, {"input": [{}]}, {"prompt": None}, {"prompt": [1, "a"]}]
)
def test_nonsense_is_answered_as_well(body: dict[str, Any]) -> None:
    assert json.loads(answer(**body).whole())
