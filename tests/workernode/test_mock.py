from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from bus.messages import Usage
from core.errors import ConfigurationError
from tests.workernode.chunks import Chunks
from workernode.backends.base import Call
from workernode.backends.mock import MockBackend
from workernode.classify import Retry
from workernode.errors import CallFailed
from workernode.settings import WorkerSettings


def make_mock(**fields: Any) -> MockBackend:
    fields = {"mock_text": "Water boils at 100 °C.", **fields}
    return MockBackend(WorkerSettings(node_type="mock", model_name="mock", bus_url="postgresql://unused", **fields))


def make_call(*, stream: bool = False, **fields: Any) -> Call:
    return Call(
        "r-1", {"model": "asked", "messages": [{"role": "user", "content": "When does it?"}], **fields}, stream
    )


async def outcome(backend: MockBackend, *, stream: bool = False) -> str:
    try:
        await backend.call(make_call(stream=stream), Chunks())
    except CallFailed as failed:
        return f"{failed.status} {failed.retry.name}"
    return "200"


async def test_a_plain_answer_is_a_valid_chat_completion() -> None:
    answer = await make_mock().call(make_call(), None)
    completion = ChatCompletion.model_validate_json(answer.response, strict=True)
    assert completion.choices[0].message.content == "Water boils at 100 °C."
    assert (completion.id, completion.model) == ("chatcmpl-r-1", "asked")
    assert completion.usage is not None
    assert completion.usage.total_tokens == 8
    assert answer.usage == Usage(3, 5, 8)
    assert not answer.estimated


async def test_a_model_that_is_not_named_is_the_nodes() -> None:
    answer = await make_mock().call(Call("r", {}, False), None)
    assert json.loads(answer.response)["model"] == "mock"


@pytest.mark.parametrize("asked", [True, False])
async def test_a_stream_has_a_valid_chunk_for_each_word_and_usage_where_asked(asked: bool) -> None:
    chunks = Chunks()
    answer = await make_mock().call(make_call(stream=True, stream_options={"include_usage": asked}), chunks)
    for chunk in chunks:
        ChatCompletionChunk.model_validate_json(json.dumps(chunk), strict=True)
    assert chunks.text() == "Water boils at 100 °C."
    assert len(chunks) == 5 + 1 + asked
    assert bool(chunks[-1].get("usage")) is asked
    assert json.loads(answer.response)["choices"][0]["message"]["content"] == chunks.text()


async def test_a_plain_request_has_no_chunks() -> None:
    chunks = Chunks()
    await make_mock().call(make_call(), chunks)
    assert not chunks


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_takes_its_delay_and_its_pace(stream: bool) -> None:
    backend = make_mock(mock_delay_seconds=0.05, mock_tokens_per_second=100)
    began = time.monotonic()
    await backend.call(make_call(stream=stream), Chunks())
    assert time.monotonic() - began >= 0.05 + 4 / 100


async def test_failures_come_in_turn_for_ever() -> None:
    backend = make_mock(mock_failures="200, 429,500,400,drop")
    turn = ["200", "429 LATER", "500 BACK_OFF", "400 NEVER", "502 BACK_OFF"]
    assert [await outcome(backend) for _ in range(10)] == turn * 2


async def test_a_drop_in_mid_stream_has_shown_a_part() -> None:
    chunks = Chunks()
    with pytest.raises(CallFailed) as failed:
        await make_mock(mock_failures="drop").call(make_call(stream=True), chunks)
    assert chunks.text() == "Water boils "
    assert failed.value.usage == Usage(3, 2, 5)


async def test_a_hang_lasts_until_the_limit_of_a_call() -> None:
    with pytest.raises(CallFailed) as failed:
        await make_mock(mock_failures="hang", call_timeout_seconds=0.05).call(make_call(), None)
    assert (failed.value.status, failed.value.retry) == (504, Retry.NEVER)


async def test_a_hang_can_be_cancelled() -> None:
    task = asyncio.create_task(make_mock(mock_failures="hang").call(make_call(), None))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancelled_stream_tells_what_it_has_used() -> None:
    chunks, call = Chunks(), make_call(stream=True)
    task = asyncio.create_task(make_mock(mock_tokens_per_second=0.01).call(call, chunks))
    await chunks.first.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert call.progress.usage() == Usage(3, 1, 4)


async def asked(body: dict[str, Any], *, stream: bool = False) -> tuple[str, Usage]:
    chunks = Chunks()
    answer = await make_mock().call(make_call(stream=stream, agentos_mock=body), chunks)
    text = ChatCompletion.model_validate_json(answer.response, strict=True).choices[0].message.content
    assert chunks.text() == (text if stream else "")
    assert text is not None
    return text, answer.usage


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("body", "text", "tokens"),
    [
        ({}, "Water boils at 100 °C.", 5),
        ({"text": "At  once."}, "At  once.", 3),
        ({"text": ""}, "", 0),
        ({"words": 3}, "word1 word2 word3", 3),
        ({"words": 0}, "", 0),
        ({"bytes": 0}, "", 0),
    ],
)
async def test_a_request_says_what_it_is_answered(body: dict[str, Any], text: str, tokens: int, stream: bool) -> None:
    assert await asked(body, stream=stream) == (text, Usage(3, tokens, 3 + tokens))


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 1000])
async def test_random_text_has_its_bytes_and_is_another_each_time(size: int) -> None:
    texts = [(await asked({"bytes": size}))[0] for _ in range(20)]
    assert {len(text.encode()) for text in texts} == {size}
    assert len(set(texts)) > 1


async def test_a_request_says_how_long_it_takes_the_making_of_its_data_included() -> None:
    began = time.monotonic()
    await asked({"delay_seconds": 0.05, "sleep_seconds": 0.1, "bytes": 100_000})
    assert time.monotonic() - began >= 0.15


async def test_a_requests_own_delay_takes_the_place_of_the_workers() -> None:
    call = make_call(agentos_mock={"delay_seconds": 0})
    await asyncio.wait_for(make_mock(mock_delay_seconds=1000).call(call, None), 30)


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (5, "'agentos_mock'"),
        ({"bytes": -1}, "'agentos_mock.bytes'"),
        ({"bytes": 10**12}, "'agentos_mock.bytes'"),
        ({"words": 1.5}, "'agentos_mock.words'"),
        ({"sleep_seconds": "long"}, "'agentos_mock.sleep_seconds'"),
        ({"delay_seconds": -0.1}, "'agentos_mock.delay_seconds'"),
        ({"pause": 1}, "`pause`"),
        ({"text": "a", "bytes": 1}, "more than one"),
    ],
)
async def test_what_makes_no_sense_is_refused_by_name(body: Any, place: str) -> None:
    with pytest.raises(CallFailed) as failed:
        await make_mock().call(make_call(agentos_mock=body), None)
    assert (failed.value.status, failed.value.retry) == (400, Retry.NEVER)
    assert failed.value.error["code"] == "invalid_agentos_mock"
    assert place in failed.value.error["message"]


@pytest.mark.parametrize("pattern", ["200,bang", "200,,500", "302", "200,-1", "600"])
def test_a_pattern_that_makes_no_sense_is_refused(pattern: str) -> None:
    with pytest.raises(ConfigurationError, match="AGENTOS_MOCK_FAILURES"):
        make_mock(mock_failures=pattern)


@pytest.mark.parametrize(
    "body", [{"messages": None}, {"messages": [None, {"content": [{"type": "text"}]}, {"content": 5}]}, {"model": 5}]
)
async def test_any_body_is_answered(body: dict[str, Any]) -> None:
    answer = await make_mock().call(Call("r", body, False), None)
    assert answer.usage.prompt_tokens == 0
