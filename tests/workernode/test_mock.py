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
