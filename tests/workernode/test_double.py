"""The double keeps the rules that tests rely on: the official client takes it for a provider."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import openai
import pytest

from tests.double.server import WORDS, Provider

MESSAGES: list[Any] = [{"role": "user", "content": "When does water boil?"}]


def client_of(provider: Provider, key: str = "k") -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=provider.url + "/v1", api_key=key, max_retries=0)


async def test_the_official_client_gets_plain_and_streamed_answers(provider: Provider) -> None:
    async with client_of(provider) as client:
        plain = await client.chat.completions.create(model="m", messages=MESSAGES)
        assert plain.choices[0].message.content == "".join(WORDS)
        assert plain.usage is not None
        assert (plain.usage.prompt_tokens, plain.usage.completion_tokens) == (4, len(WORDS))
        stream = await client.chat.completions.create(model="m", messages=MESSAGES, stream=True)
        chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "".join(WORDS)
    assert all(chunk.usage is None for chunk in chunks)
    assert provider.tokens == 4 + len(WORDS)  # a stream that asks for no usage is not counted


async def test_it_keeps_its_rate_limit_and_says_when_to_come_again(provider: Provider) -> None:
    provider.rpm, provider.window = 2, 60.0
    async with client_of(provider) as client:
        raw = await client.chat.completions.with_raw_response.create(model="m", messages=MESSAGES)
        assert raw.headers["x-ratelimit-remaining-requests"] == "1"
        await client.chat.completions.create(model="m", messages=MESSAGES)
        with pytest.raises(openai.RateLimitError) as refused:
            await client.chat.completions.create(model="m", messages=MESSAGES)
    assert refused.value.code == "rate_limit_exceeded"
    assert 50 <= int(refused.value.response.headers["retry-after"]) <= 60


async def test_it_refuses_a_wrong_key(provider: Provider) -> None:
    provider.key = "right"
    async with client_of(provider, "wrong") as client:
        with pytest.raises(openai.AuthenticationError):
            await client.chat.completions.create(model="m", messages=MESSAGES)


async def test_it_runs_as_a_process_of_its_own() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.double", "--key", "k", stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        url = (await process.stdout.readline()).decode().strip()
        async with openai.AsyncOpenAI(base_url=url + "/v1", api_key="k") as client:
            assert [model.id async for model in client.models.list()] == ["test-model"]
    finally:
        process.kill()
        await process.wait()
