"""The mock as a machine that serves batches."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from core.errors import ConfigurationError
from tests.workernode.chunks import Chunks
from workernode.backends.base import Answer, Call
from workernode.backends.mock import MockBackend
from workernode.errors import CallFailed
from workernode.settings import WorkerSettings


def make_mock(seconds: str, **fields: Any) -> MockBackend:
    return MockBackend(
        WorkerSettings(node_type="mock", model_name="m", bus_url="x", mock_batch_seconds=seconds, **fields)
    )


def make_call(name: str, *, stream: bool = False) -> Call:
    return Call(name, {"messages": [{"role": "user", "content": "Hello there."}]}, stream)


@pytest.mark.parametrize(("size", "seconds"), [(1, 0.1), (3, 0.2), (4, 0.25), (8, 0.5)])
async def test_a_batch_takes_what_its_size_tells(size: int, seconds: float) -> None:
    mock = make_mock("1:0.1,2:0.15,4:0.25")
    assert mock.joint is not None
    began = time.monotonic()
    answers = await mock.joint.call_many([(make_call(str(number)), None) for number in range(size)])
    took = time.monotonic() - began
    assert all(isinstance(answer, Answer) for answer in answers)
    assert seconds <= took < seconds + 5  # this machine may stand still for a while


async def test_one_batch_after_another_and_single_calls_as_well() -> None:
    mock = make_mock("1:0.1")
    began = time.monotonic()
    await asyncio.gather(*(mock.call(make_call(str(number)), None) for number in range(4)))
    assert time.monotonic() - began >= 0.4


async def test_a_stream_comes_whole_at_the_end() -> None:
    mock = make_mock("1:0.01", mock_text="one two")
    assert mock.joint is not None
    chunks = Chunks()
    await mock.joint.call_many([(make_call("a", stream=True), chunks), (make_call("b"), None)])
    assert chunks.text() == "one two"


async def test_failures_in_their_pattern_are_one_requests_each() -> None:
    mock = make_mock("1:0.01", mock_failures="200,500")
    assert mock.joint is not None
    outcomes = await mock.joint.call_many([(make_call(str(number)), None) for number in range(4)])
    assert [isinstance(outcome, CallFailed) for outcome in outcomes] == [False, True, False, True]


def test_a_table_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="AGENTOS_MOCK_BATCH_SECONDS"):
        make_mock("fast")
    with pytest.raises(ConfigurationError, match="AGENTOS_BATCH_SECONDS"):
        make_mock("", batch_seconds="fast")
