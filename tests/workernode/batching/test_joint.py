"""Embeddings and text completions of several requests in one call to a provider."""

from __future__ import annotations

import asyncio
import json
import struct
from base64 import b64decode
from collections.abc import AsyncIterator
from typing import Any

import pytest
from openai.types import Completion, CreateEmbeddingResponse

from bus.messages import Usage
from tests.double.answers import WORDS
from tests.double.scripts import BAD_KEY, FAULT, HANG, NO_USAGE, refuse
from tests.double.server import Provider
from tests.double.texts import vector
from workernode.backends.base import Answer, Call
from workernode.backends.remote import RemoteBackend
from workernode.errors import CallFailed


@pytest.fixture
async def remote(provider: Provider) -> AsyncIterator[RemoteBackend]:
    backend = RemoteBackend(provider.url, "key", slots=8, idle_timeout=20, call_timeout=30)
    await backend.start()
    yield backend
    await backend.close()


def embedding(value: Any, name: str = "r", **fields: Any) -> Call:
    return Call(name, {"model": "m", "input": value, **fields}, False, {"x-client-request-id": name})


def completion(value: Any, name: str = "r", **fields: Any) -> Call:
    return Call(name, {"model": "m", "prompt": value, **fields}, False)


async def ask(remote: RemoteBackend, *calls: Call) -> list[Answer | CallFailed]:
    async with asyncio.timeout(20):
        return list(await remote.joint.call_many([(call, None) for call in calls]))


def vectors(answer: Answer | CallFailed) -> list[Any]:
    assert isinstance(answer, Answer)
    parsed = CreateEmbeddingResponse.model_validate_json(answer.response, strict=True)
    assert [each.index for each in parsed.data] == list(range(len(parsed.data)))
    return [each.embedding for each in parsed.data]


async def test_embeddings_of_many_are_one_call_and_each_gets_its_own(
    remote: RemoteBackend, provider: Provider
) -> None:
    answers = await ask(remote, embedding("a b c", "r1"), embedding(["d", "e f"], "r2"), embedding(["g"], "r3"))
    assert [vectors(each) for each in answers] == [
        [vector("a b c")],
        [vector("d"), vector("e f")],
        [vector("g")],
    ]
    (seen,) = provider.calls
    assert seen.body == {"model": "m", "input": ["a b c", "d", "e f", "g"]}
    assert seen.headers["x-client-request-id"] == "r1"


async def test_what_was_used_is_divided_and_adds_up(remote: RemoteBackend, provider: Provider) -> None:
    answers = await ask(remote, embedding("one two three four"), embedding("five"))
    used = [each.usage for each in answers if isinstance(each, Answer)]
    assert sum(each.total_tokens for each in used) == provider.tokens == 5
    assert used[0].prompt_tokens > used[1].prompt_tokens
    assert all(isinstance(each, Answer) and each.estimated for each in answers)


async def test_tokens_and_their_lists(remote: RemoteBackend, provider: Provider) -> None:
    answers = await ask(remote, embedding([1, 2, 3]), embedding([[4], [5, 6]]))
    assert [vectors(each) for each in answers] == [[vector([1, 2, 3])], [vector([4]), vector([5, 6])]]
    assert len(provider.calls) == 1


async def test_base64_passes_through(remote: RemoteBackend) -> None:
    calls = [embedding(text, encoding_format="base64") for text in ("a", "b")]
    for text, answer in zip("ab", await ask(remote, *calls), strict=True):
        assert isinstance(answer, Answer)
        coded = json.loads(answer.response)["data"][0]["embedding"]
        assert list(struct.unpack("<8f", b64decode(coded))) == vector(text)


async def test_text_completions_with_several_answers_each(remote: RemoteBackend, provider: Provider) -> None:
    answers = await ask(remote, completion("a", n=2), completion(["b", "c"], n=2))
    counts = []
    for answer in answers:
        assert isinstance(answer, Answer)
        parsed = Completion.model_validate_json(answer.response, strict=True)
        assert [choice.index for choice in parsed.choices] == list(range(len(parsed.choices)))
        assert parsed.choices[0].text == "".join(WORDS)
        counts.append(len(parsed.choices))
    assert counts == [2, 4]
    assert len(provider.calls) == 1
    assert sum(each.usage.total_tokens for each in answers if isinstance(each, Answer)) == provider.tokens


async def test_one_that_is_at_fault_fails_alone(remote: RemoteBackend, provider: Provider) -> None:
    answers = await ask(remote, embedding("a"), embedding([""]), embedding("b"))
    assert [vectors(answers[0]), vectors(answers[2])] == [[vector("a")], [vector("b")]]
    assert isinstance(answers[1], CallFailed)
    assert answers[1].status == 400
    assert len(provider.calls) == 4
    assert [each.usage for each in answers if isinstance(each, Answer)] == [Usage(1, 0, 1), Usage(1, 0, 1)]


@pytest.mark.parametrize(
    ("step", "status"), [(FAULT, 500), (refuse(429, "rate_limit_exceeded"), 429), (BAD_KEY, 502)]
)
async def test_what_is_nobodys_fault_is_not_tried_one_by_one(
    remote: RemoteBackend, provider: Provider, step: Any, status: int
) -> None:
    provider.script(step)
    with pytest.raises(CallFailed) as failed:
        await ask(remote, embedding("a"), embedding("b"))
    assert failed.value.status == status
    assert len(provider.calls) == 1


async def test_usage_that_is_not_stated_is_estimated_for_each(remote: RemoteBackend, provider: Provider) -> None:
    provider.script(NO_USAGE)
    answers = await ask(remote, embedding("a" * 40), embedding("b" * 4))
    assert [each.usage.prompt_tokens for each in answers if isinstance(each, Answer)] == [10, 1]


async def test_a_single_one_is_the_call_that_it_always_was(remote: RemoteBackend, provider: Provider) -> None:
    (answer,) = await ask(remote, embedding("a b", user="u"))
    assert isinstance(answer, Answer)
    assert (answer.usage, answer.estimated) == (Usage(2, 0, 2), False)
    assert provider.calls[0].body == {"model": "m", "input": "a b", "user": "u"}


async def test_what_is_cut_off_may_have_cost_money(remote: RemoteBackend, provider: Provider) -> None:
    provider.script(HANG)
    calls = [embedding("a" * 40), embedding("b" * 4)]
    running = asyncio.create_task(ask(remote, *calls))
    seen = await provider.call()
    running.cancel()
    await asyncio.wait([running])
    async with asyncio.timeout(20):
        await seen.left.wait()
    assert all(call.progress.connected_at is not None for call in calls)
    assert [used.prompt_tokens for call in calls if (used := call.progress.usage())] == [10, 1]


async def test_a_stream_and_a_chat_go_by_themselves(remote: RemoteBackend) -> None:
    assert remote.joint.likeness(Call("r", {"prompt": "a", "stream": True}, True)) is None
    assert remote.joint.likeness(Call("r", {"messages": []}, False)) is None
