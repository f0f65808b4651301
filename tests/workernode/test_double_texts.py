"""The double's text completions and embeddings, as the official client sees them."""

from __future__ import annotations

import base64
import struct
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest

from tests.double.answers import SAY, WORDS
from tests.double.scripts import HALF_STREAM
from tests.double.server import Provider
from tests.double.texts import DIMENSIONS, MOST_TEXTS, MOST_TOKENS, vector


@pytest.fixture
async def client(provider: Provider) -> AsyncIterator[openai.AsyncOpenAI]:
    http = openai.DefaultAsyncHttpx2Client(trust_env=False)
    async with openai.AsyncOpenAI(
        base_url=f"{provider.url}/v1", api_key="any", max_retries=0, http_client=http
    ) as client:
        yield client


@pytest.mark.parametrize(
    ("texts", "tokens"), [("a b", 2), (["a b", "c"], 3), ([1, 2, 3], 3), ([[1, 2], [3]], 3), (["a", "a"], 2)]
)
async def test_each_text_has_its_vector(client: openai.AsyncOpenAI, texts: Any, tokens: int) -> None:
    answer = await client.embeddings.create(model="m", input=texts)  # the client asks for base64
    alone = isinstance(texts, str) or isinstance(texts[0], int)
    assert [each.embedding for each in answer.data] == [vector(text) for text in ([texts] if alone else texts)]
    assert [each.index for each in answer.data] == list(range(len(answer.data)))
    assert (answer.usage.prompt_tokens, answer.usage.total_tokens) == (tokens, tokens)


def test_different_texts_have_different_vectors() -> None:
    texts: list[Any] = ["a", "b", "a b", [1], [2]]
    assert len({tuple(vector(text)) for text in texts}) == len(texts)


async def test_both_encodings_tell_the_same(client: openai.AsyncOpenAI) -> None:
    plain = await client.embeddings.create(model="m", input="a", encoding_format="float", dimensions=3)
    coded: Any = await client.embeddings.create(model="m", input="a", encoding_format="base64", dimensions=3)
    assert len(plain.data[0].embedding) == 3 != DIMENSIONS
    assert list(struct.unpack("<3f", base64.b64decode(coded.data[0].embedding))) == plain.data[0].embedding


@pytest.mark.parametrize("texts", ["", [], ["a", ""], ["a"] * (MOST_TEXTS + 1), [1] * (MOST_TOKENS + 1)])
async def test_embeddings_have_openais_bounds(client: openai.AsyncOpenAI, texts: Any) -> None:
    with pytest.raises(openai.BadRequestError):
        await client.embeddings.create(model="m", input=texts)


async def test_every_prompt_is_answered_n_times(client: openai.AsyncOpenAI) -> None:
    answer = await client.completions.create(model="m", prompt=["a b", SAY + "c"], n=2)
    assert [choice.text for choice in answer.choices] == ["".join(WORDS)] * 2 + ["c"] * 2
    assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (4, 2 * len(WORDS) + 2)


async def test_a_text_completion_comes_in_a_stream(client: openai.AsyncOpenAI) -> None:
    stream = await client.completions.create(
        model="m", prompt=["a", SAY + "b"], stream=True, stream_options={"include_usage": True}
    )
    *chunks, last, usage = [chunk async for chunk in stream]
    said = {
        index: "".join(each.choices[0].text for each in chunks if each.choices[0].index == index) for index in (0, 1)
    }
    assert said == {0: "".join(WORDS), 1: "b"}
    assert [choice.finish_reason for choice in last.choices] == ["stop", "stop"]
    assert usage.usage is not None
    assert usage.usage.completion_tokens == len(WORDS) + 1


async def test_a_stream_may_end_too_early(client: openai.AsyncOpenAI, provider: Provider) -> None:
    provider.script(HALF_STREAM)
    stream = await client.completions.create(model="m", prompt="a", stream=True)
    assert [chunk.choices[0].text async for chunk in stream] == list(WORDS[: len(WORDS) // 2])


async def test_limits_hold_for_all_calls_together(provider: Provider, client: openai.AsyncOpenAI) -> None:
    provider.rpm = 2
    raw = await client.embeddings.with_raw_response.create(model="m", input="a")
    assert raw.headers["x-ratelimit-remaining-requests"] == "1"
    await client.completions.create(model="m", prompt="a")
    with pytest.raises(openai.RateLimitError) as refused:
        await client.embeddings.create(model="m", input="a")
    assert "retry-after" in refused.value.response.headers


async def test_a_request_without_its_field_is_refused(client: openai.AsyncOpenAI, provider: Provider) -> None:
    with pytest.raises(openai.BadRequestError, match="'input'"):
        await client.post("/embeddings", body={"model": "m", "prompt": "a"}, cast_to=object)
    assert [call.path for call in provider.calls] == ["/v1/embeddings"]
