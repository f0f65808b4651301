"""Text completions and embeddings: the official client through a fleet with a remote worker, on both brokers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest
import pytest_asyncio

from tests.double.answers import SAY, WORDS
from tests.double.scripts import ANSWER as ANSWERED
from tests.double.scripts import DROP, FAULT, HALF_STREAM, PLAIN, refuse
from tests.double.server import Provider
from tests.double.texts import DIMENSIONS, vector
from tests.e2e.asking import ANSWER
from tests.fixtures.fleet import Counts, Fleet, Site, until

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("e2e-texts")]


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


@pytest.mark.parametrize("texts", ["a b", ["a b", "c"], [1, 2, 3], [[1, 2], [3]]], ids=str)
@pytest.mark.parametrize("encoding", ["float", "base64", None])
async def test_embeddings_come_for_every_kind_of_text(
    client: openai.AsyncOpenAI, fleet: Fleet, upstream: Provider, texts: Any, encoding: Any
) -> None:
    """Without an encoding the client asks for base64 and decodes it itself."""
    asked: Any = {} if encoding is None else {"encoding_format": encoding}
    answer = await client.embeddings.create(model=fleet.model, input=texts, **asked)
    each = [texts] if isinstance(texts, str) or isinstance(texts[0], int) else texts
    if encoding == "base64":
        assert all(isinstance(one.embedding, str) for one in answer.data)
    else:
        assert [one.embedding for one in answer.data] == [vector(text) for text in each]
    assert [one.index for one in answer.data] == list(range(len(each)))
    assert (upstream.calls[0].path, upstream.calls[0].body["input"]) == ("/v1/embeddings", texts)
    assert upstream.calls[0].body["encoding_format"] == encoding or "base64"


@pytest.mark.parametrize(
    ("prompt", "texts"),
    [
        ("a b", [ANSWER]),
        ("", [ANSWER]),
        ([1, 2], [ANSWER]),
        ([SAY + "c", "a"], ["c", ANSWER]),
        ([[1], [2]], [ANSWER] * 2),
    ],
    ids=str,
)
async def test_every_prompt_is_completed(
    client: openai.AsyncOpenAI, fleet: Fleet, upstream: Provider, prompt: Any, texts: list[str]
) -> None:
    answer = await client.completions.create(model=fleet.model, prompt=prompt)
    assert [choice.text for choice in answer.choices] == texts
    assert (answer.object, answer.id) == ("text_completion", "cmpl-double")
    assert upstream.calls[0].path == "/v1/completions"


@pytest.mark.parametrize("include", [True, False, None])
async def test_a_text_completion_comes_in_chunks_and_its_usage_only_if_asked_for(
    client: openai.AsyncOpenAI, fleet: Fleet, include: bool | None
) -> None:
    options: Any = {} if include is None else {"stream_options": {"include_usage": include}}
    stream = await client.completions.create(model=fleet.model, prompt="a b", stream=True, **options)
    chunks = [chunk async for chunk in stream]
    assert "".join(choice.text for chunk in chunks for choice in chunk.choices) == ANSWER
    assert len(chunks) > len(WORDS)
    assert {chunk.object for chunk in chunks} == {"text_completion"}
    usages = [chunk.usage.total_tokens for chunk in chunks if chunk.usage is not None]
    assert usages == ([2 + len(WORDS)] if include else [])


async def test_an_upstream_that_does_not_stream_is_streamed_all_the_same(
    client: openai.AsyncOpenAI, fleet: Fleet, upstream: Provider
) -> None:
    upstream.script(PLAIN)
    stream = await client.completions.create(model=fleet.model, prompt="a", stream=True)
    chunks = [chunk async for chunk in stream]
    assert [chunk.choices[0].text for chunk in chunks] == [ANSWER, ""]
    assert chunks[-1].choices[0].finish_reason == "stop"


async def test_fields_that_nobody_here_knows_reach_the_provider(
    client: openai.AsyncOpenAI, fleet: Fleet, upstream: Provider
) -> None:
    new = {"new_feature": {"x": [1, None]}}
    answer = await client.embeddings.create(model=fleet.model, input="a", dimensions=3, extra_body=new)
    assert len(answer.data[0].embedding) == 3 != DIMENSIONS
    await client.completions.create(model=fleet.model, prompt="a", n=2, echo=True, extra_body=new)
    embeddings, completion = (call.body for call in upstream.calls)
    assert (embeddings["new_feature"], embeddings["dimensions"]) == (new["new_feature"], 3)
    assert (completion["new_feature"], completion["n"], completion["echo"]) == (new["new_feature"], 2, True)


async def test_each_call_is_billed_as_what_it_is(client: openai.AsyncOpenAI, fleet: Fleet, before: Counts) -> None:
    await client.embeddings.create(model=fleet.model, input=["a b", "c"])
    await client.completions.create(model=fleet.model, prompt="a b", n=2)
    stream = await client.completions.create(model=fleet.model, prompt="a b", stream=True)
    assert [chunk async for chunk in stream]
    added = await fleet.folded(progress=3, since=before)
    assert added == Counts(tasks=3, progress=3, ledger=3, outbox=0)
    rows = await fleet.rows(
        "select task_type, prompt_tokens, completion_tokens, estimated from ledger join tasks using (task_id)"
        " order by task_id desc limit 3"
    )
    assert [tuple(row) for row in reversed(rows)] == [
        ("embeddings", 3, 0, False),
        ("text_completion", 2, 2 * len(WORDS), False),
        ("text_completion", 2, len(WORDS), False),
    ]


@pytest.mark.parametrize(("path", "field"), [("/completions", "prompt"), ("/embeddings", "input")])
async def test_an_unknown_model_is_not_found_by_name(client: openai.AsyncOpenAI, path: str, field: str) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        await client.post(path, body={"model": "nobody-serves-this", field: "a"}, cast_to=object)
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


TEXTS: list[Any] = [None, 5, 1.5, True, {}, [], [[]], ["a", 1], [[1], "a"], [1, [1]], [None], [{}], [[1.5]]]


@pytest.mark.parametrize(
    ("path", "wrong", "param"),
    [
        *(("/completions", {"prompt": texts}, "prompt") for texts in TEXTS),
        *(("/embeddings", {"input": texts}, "input") for texts in TEXTS),
        ("/completions", {}, "prompt"),
        ("/completions", {"prompt": "a", "stream": "yes"}, "stream"),
        ("/completions", {"prompt": "a", "messages": []}, "messages"),
        ("/completions", {"prompt": "a", "model": 7}, "model"),
        ("/completions", {"prompt": "a", "stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
        ("/embeddings", {}, "input"),
        ("/embeddings", {"input": "a", "stream": True}, "stream"),
        ("/embeddings", {"input": "a", "prompt": "a"}, "prompt"),
    ],
    ids=str,
)
async def test_wrong_bodies_are_a_bad_request_that_names_the_field(
    client: openai.AsyncOpenAI, fleet: Fleet, upstream: Provider, path: str, wrong: dict[str, Any], param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await client.post(path, body={"model": fleet.model, **wrong}, cast_to=object)
    assert (caught.value.param, caught.value.type) == (param, "invalid_request_error")
    assert upstream.calls == []


async def test_what_the_provider_refuses_the_client_is_told(client: openai.AsyncOpenAI, fleet: Fleet) -> None:
    with pytest.raises(openai.BadRequestError, match="is invalid"):
        await client.embeddings.create(model=fleet.model, input=["a", ""])


@pytest.mark.parametrize("step", [FAULT, DROP, refuse(429, retry_after_ms="10")], ids=["fault", "drop", "rate"])
async def test_a_failure_of_the_provider_is_not_noticed(
    client: openai.AsyncOpenAI, fleet: Fleet, upstream: Provider, step: Any
) -> None:
    upstream.script(step, ANSWERED, step)
    answer = await client.embeddings.create(model=fleet.model, input="a")
    assert answer.data[0].embedding == vector("a")
    assert (await client.completions.create(model=fleet.model, prompt="a")).choices[0].text == ANSWER
    assert len(upstream.calls) == 4


async def test_a_stream_that_ends_half_way_says_so(
    client: openai.AsyncOpenAI, fleet: Fleet, upstream: Provider
) -> None:
    upstream.script(HALF_STREAM)
    stream = await client.completions.create(model=fleet.model, prompt="a", stream=True)
    said = [(await anext(stream)).choices[0].text for _ in range(len(WORDS) // 2)]
    with pytest.raises(openai.APIError) as caught:
        await anext(stream)
    assert said == list(WORDS[: len(WORDS) // 2])
    assert caught.value.code == "upstream_incomplete"


async def test_leaving_a_stream_stops_the_work_upstream(
    client: openai.AsyncOpenAI, fleet: Fleet, upstream: Provider, before: Counts
) -> None:
    upstream.pace = 0.3
    stream = await client.completions.create(model=fleet.model, prompt="a", stream=True)
    async for _ in stream:
        break
    await stream.close()
    async with asyncio.timeout(10):
        await (await upstream.call()).left.wait()
    await fleet.folded(progress=1, since=before)
    (row,) = await fleet.rows("select outcome, status, estimated from ledger order by folded_at desc limit 1")
    assert tuple(row) == ("cancelled", 499, True)


async def test_leaving_embeddings_stops_the_work_upstream(
    client: openai.AsyncOpenAI, fleet: Fleet, upstream: Provider
) -> None:
    upstream.delay = 60
    asking = asyncio.create_task(client.embeddings.create(model=fleet.model, input="a"))
    call = await upstream.call()
    asking.cancel()
    async with asyncio.timeout(10):
        await call.left.wait()


async def test_an_answer_too_large_for_a_frame_comes_from_the_store(client: openai.AsyncOpenAI, fleet: Fleet) -> None:
    texts = [f"text {number}" for number in range(60)]
    answer = await client.embeddings.create(model=fleet.model, input=texts, dimensions=3072, encoding_format="float")
    assert [each.embedding for each in answer.data] == [vector(text, 3072) for text in texts]


async def test_all_kinds_go_the_same_road_at_once(
    client: openai.AsyncOpenAI, fleet: Fleet, upstream: Provider, before: Counts
) -> None:
    embedded = [client.embeddings.create(model=fleet.model, input=f"a {number}") for number in range(40)]
    said = [client.completions.create(model=fleet.model, prompt=f"{SAY}{number}") for number in range(40)]
    vectors, texts = await asyncio.gather(asyncio.gather(*embedded), asyncio.gather(*said))
    assert [each.data[0].embedding for each in vectors] == [vector(f"a {number}") for number in range(40)]
    assert [each.choices[0].text for each in texts] == [str(number) for number in range(40)]
    assert len(upstream.calls) == 80
    added = await fleet.folded(progress=80, since=before)
    assert added == Counts(tasks=80, progress=80, ledger=80, outbox=0)


async def test_the_earlier_systems_path_serves_the_same(fleet: Fleet, upstream: Provider) -> None:
    async with fleet.client(prefix="/api/v1") as client:
        assert (await client.embeddings.create(model=fleet.model, input="a")).data[0].embedding == vector("a")
        assert (await client.completions.create(model=fleet.model, prompt="a")).choices[0].text == ANSWER


async def test_metrics_tell_the_calls_apart(client: openai.AsyncOpenAI, fleet: Fleet) -> None:
    await client.embeddings.create(model=fleet.model, input="a")
    stream = await client.completions.create(model=fleet.model, prompt="a", stream=True)
    assert [chunk async for chunk in stream]
    for operation, name in (
        ("embeddings", "gen_ai_server_request_duration_seconds_count"),
        ("text_completion", "gen_ai_server_request_duration_seconds_count"),
        ("text_completion", "gen_ai_server_time_to_first_token_seconds_count"),
        ("text_completion", "gen_ai_server_time_per_output_token_seconds_count"),
    ):
        await until(partial(_has_counted, fleet, name, operation), f"{name} of {operation} has counted")


async def _has_counted(fleet: Fleet, name: str, operation: str) -> bool:
    async with aiohttp.ClientSession() as session, session.get(fleet.url + "/metrics") as response:
        lines = (await response.text()).splitlines()
    sought = (f'gen_ai_operation_name="{operation}"', f'gen_ai_request_model="{fleet.model}"')
    return any(line.startswith(name) and all(each in line for each in sought) for line in lines)
