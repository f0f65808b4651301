"""Asking as clients do, and what came of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import openai
from openai.types.chat import ChatCompletionChunk

from tests.double.answers import WORDS
from tests.fixtures.fleet import Fleet

QUESTION: list[Any] = [{"role": "user", "content": "When does water boil?"}]
ANSWER = "".join(WORDS)


async def ask(client: openai.AsyncOpenAI, model: str) -> str:
    """One plain request's answer."""
    completion = await client.chat.completions.create(model=model, messages=QUESTION)
    return completion.choices[0].message.content or ""


async def ask_in_stream(client: openai.AsyncOpenAI, model: str) -> str:
    """One streamed request's answer, put together."""
    return await text_of(await client.chat.completions.create(model=model, messages=QUESTION, stream=True))


async def text_of(stream: openai.AsyncStream[ChatCompletionChunk]) -> str:
    """What a stream says from here to its end."""
    return "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])


async def ask_many(client: openai.AsyncOpenAI, fleet: Fleet, count: int) -> list[str | BaseException]:
    """Plain and streamed requests at once; answers, or what they raised."""
    ways = (ask, ask_in_stream)
    asked = (ways[number % 2](client, fleet.model) for number in range(count))
    return await asyncio.gather(*asked, return_exceptions=True)


def codes(ends: Iterable[str | BaseException], answer: str = ANSWER) -> list[str]:
    """The code of each request that failed. Fails where one ended without a name, or with half an answer."""
    found = []
    for end in ends:
        if isinstance(end, str):
            assert end == answer
            continue
        assert isinstance(end, openai.APIError), repr(end)
        assert end.code, f"an error without a name: {end!r}"
        found.append(end.code)
    return found
