"""The official `openai` client, with nothing changed but its address."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest
import pytest_asyncio

from tests.double.answers import WORDS
from tests.double.server import Provider
from tests.e2e.asking import ANSWER, QUESTION, ask, ask_in_stream, ask_many
from tests.fixtures.fleet import Counts, Fleet, Site

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("e2e-openai")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(
    site: Site, module_provider: Provider, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Fleet]:
    directory: Path = tmp_path_factory.mktemp("fleet")
    with Fleet(site, directory) as fleet:
        await fleet.start(fleet.coordinator(), fleet.worker(API_URL=module_provider.url, API_KEY="sk-test"))
        yield fleet


@pytest_asyncio.fixture(loop_scope="module")
async def client(fleet: Fleet, upstream: Provider) -> AsyncIterator[openai.AsyncOpenAI]:
    async with fleet.client() as client:
        yield client


async def test_a_plain_request_is_answered_with_usage(client: openai.AsyncOpenAI, fleet: Fleet) -> None:
    completion = await client.chat.completions.create(model=fleet.model, messages=QUESTION)
    assert completion.choices[0].message.content == ANSWER
    assert completion.usage is not None
    assert (completion.usage.prompt_tokens, completion.usage.completion_tokens) == (4, len(WORDS))


async def test_fields_that_nobody_here_knows_reach_the_provider(
    client: openai.AsyncOpenAI, fleet: Fleet, upstream: Provider
) -> None:
    await client.chat.completions.create(
        model=fleet.model, messages=QUESTION, temperature=0.5, extra_body={"new_feature": {"x": [1, None]}}
    )
    body = upstream.calls[0].body
    assert (body["temperature"], body["new_feature"]) == (0.5, {"x": [1, None]})
    assert "stream" not in body


async def test_a_stream_comes_in_chunks_and_its_usage_only_if_asked_for(
    client: openai.AsyncOpenAI, fleet: Fleet
) -> None:
    stream = await client.chat.completions.create(model=fleet.model, messages=QUESTION, stream=True)
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == ANSWER
    assert len(chunks) > len(WORDS)
    assert all(chunk.usage is None for chunk in chunks)
    assert chunks[-1].choices[0].finish_reason == "stop"


async def test_the_last_chunk_holds_the_usage_if_asked_for(client: openai.AsyncOpenAI, fleet: Fleet) -> None:
    stream = await client.chat.completions.create(
        model=fleet.model, messages=QUESTION, stream=True, stream_options={"include_usage": True}
    )
    *_, last = [chunk async for chunk in stream]
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.total_tokens == 4 + len(WORDS)


async def test_a_stream_is_billed_whether_or_not_its_usage_was_asked_for(
    client: openai.AsyncOpenAI, fleet: Fleet, before: Counts
) -> None:
    await ask_in_stream(client, fleet.model)
    await fleet.folded(progress=1, since=before)
    (row,) = await fleet.rows("select total_tokens, estimated from ledger order by folded_at desc limit 1")
    assert tuple(row) == (4 + len(WORDS), False)


async def test_an_unknown_model_is_not_found_by_name(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        await client.chat.completions.create(model="nobody-serves-this", messages=QUESTION)
    assert caught.value.code == "model_not_found"
    assert caught.value.param == "model"


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"messages": "hello"}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": [1]}, "messages[0]"),
        ({"stream": "yes"}, "stream"),
        ({"model": 7}, "model"),
        ({"stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
    ],
)
async def test_wrong_types_are_a_bad_request_that_names_the_field(
    client: openai.AsyncOpenAI, fleet: Fleet, upstream: Provider, wrong: dict[str, Any], param: str
) -> None:
    body: dict[str, Any] = {"model": fleet.model, "messages": QUESTION, **wrong}
    with pytest.raises(openai.BadRequestError) as caught:
        await client.post("/chat/completions", body=body, cast_to=object)
    assert caught.value.param == param
    assert caught.value.type == "invalid_request_error"
    assert upstream.calls == []


async def test_models_are_listed_and_retrieved(client: openai.AsyncOpenAI, fleet: Fleet) -> None:
    assert fleet.model in [model.id async for model in client.models.list()]
    model = await client.models.retrieve(fleet.model)
    assert (model.id, model.object, model.owned_by) == (fleet.model, "model", "agentos-remote")


async def test_the_earlier_systems_path_serves_the_same(fleet: Fleet, upstream: Provider) -> None:
    async with fleet.client(prefix="/api/v1") as client:
        assert await ask(client, fleet.model) == ANSWER
        assert fleet.model in [model.id async for model in client.models.list()]


async def test_two_hundred_at_once_are_answered_and_folded_once_each(
    client: openai.AsyncOpenAI, fleet: Fleet, upstream: Provider, before: Counts
) -> None:
    assert await ask_many(client, fleet, 200) == [ANSWER] * 200
    assert len(upstream.calls) == 200
    added = await fleet.folded(progress=200, since=before)
    assert added == Counts(tasks=200, progress=200, ledger=200, outbox=0)


async def test_leaving_a_stream_stops_the_work_upstream(
    client: openai.AsyncOpenAI, fleet: Fleet, upstream: Provider, before: Counts
) -> None:
    upstream.pace = 0.3
    stream = await client.chat.completions.create(model=fleet.model, messages=QUESTION, stream=True)
    async for chunk in stream:
        if chunk.choices[0].delta.content:
            break
    await stream.close()
    async with asyncio.timeout(10):
        await (await upstream.call()).left.wait()
    await fleet.folded(progress=1, since=before)
    (row,) = await fleet.rows("select outcome, status, estimated from ledger order by folded_at desc limit 1")
    assert tuple(row) == ("cancelled", 499, True)


async def test_leaving_a_plain_request_stops_the_work_upstream(
    client: openai.AsyncOpenAI, fleet: Fleet, upstream: Provider
) -> None:
    upstream.delay = 60
    asking = asyncio.create_task(ask(client, fleet.model))
    call = await upstream.call()
    asking.cancel()
    async with asyncio.timeout(10):
        await call.left.wait()
