"""The double keeps the rules that tests rely on: the official client takes it for a provider."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import openai
import pytest

from tests.double.answers import WORDS
from tests.double.metering import Enforcement, Meter, go_duration
from tests.double.server import Provider
from workernode.limits.headers import duration

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
    headers = refused.value.response.headers
    assert 29 <= int(headers["retry-after"]) <= 30
    assert 29_000 <= int(headers["retry-after-ms"]) <= 30_000
    assert headers["x-ratelimit-limit-requests"] == "2"
    account = provider.account("k")
    assert (account.admitted, account.refused) == (2, 1)


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
        url = json.loads(await process.stdout.readline())["url"]
        async with openai.AsyncOpenAI(base_url=url + "/v1", api_key="k") as client:
            assert [model.id async for model in client.models.list()] == ["test-model"]
    finally:
        process.kill()
        await process.wait()


async def test_it_reserves_the_tokens_of_an_answer_when_a_request_arrives(provider: Provider) -> None:
    provider.tpm = 100
    async with client_of(provider) as client:
        raw = await client.chat.completions.with_raw_response.create(model="m", messages=MESSAGES, max_tokens=80)
        assert raw.headers["x-ratelimit-limit-tokens"] == "100"
        assert 16 <= int(raw.headers["x-ratelimit-remaining-tokens"]) <= 17
        with pytest.raises(openai.RateLimitError):
            await client.chat.completions.create(model="m", messages=MESSAGES, max_tokens=80)


async def test_a_request_above_the_limit_itself_is_too_large(provider: Provider) -> None:
    provider.tpm = 100
    async with client_of(provider) as client:
        with pytest.raises(openai.RateLimitError, match="Request too large"):
            await client.chat.completions.create(model="m", messages=MESSAGES, max_tokens=101)


async def test_keys_have_limits_of_their_own(provider: Provider) -> None:
    provider.rpm = 1
    for key in ("a", "b"):
        async with client_of(provider, key) as client:
            await client.chat.completions.create(model="m", messages=MESSAGES)
    assert {key: each.admitted for key, each in provider.accounts.items()} == {"a": 1, "b": 1}


async def test_under_more_than_it_bears_it_refuses(provider: Provider) -> None:
    provider.bears, provider.delay = 1, 0.2
    async with client_of(provider) as client:
        calls = [client.chat.completions.create(model="m", messages=MESSAGES) for _ in range(8)]
        answers = await asyncio.gather(*calls, return_exceptions=True)
    refused = [each for each in answers if isinstance(each, openai.InternalServerError)]
    assert 0 < len(refused) < 8
    assert {each.code for each in refused} == {"slow_down"}


@pytest.mark.parametrize(
    ("enforcement", "left", "reset", "wait"),
    [("bucket", 70, 3, 13), ("window", 60, 55, 55)],
    ids=["bucket", "window"],
)
def test_a_meter_refills_as_it_enforces(enforcement: Enforcement, left: float, reset: float, wait: float) -> None:
    meter = Meter(100, 10.0 if enforcement == "bucket" else 60.0, enforcement)
    meter.use(4.0, 40)
    assert meter.left(5.0) == left
    assert meter.reset(5.0) == reset
    assert meter.wait(5.0, 200) == wait


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0, "0ms"), (0.12, "120ms"), (1.5, "1.5s"), (360.0, "6m0s"), (3661.0, "1h1m1s")]
)
def test_durations_are_printed_as_go_does(seconds: float, text: str) -> None:
    assert go_duration(seconds) == text
    assert duration(text) == pytest.approx(seconds)
