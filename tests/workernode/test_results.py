"""The billing event of each kind of attempt: a real node, a real bus, a provider double."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from importlib.metadata import version
from typing import Any

import msgspec
import pytest

from bus.billing import Client, RequestDetails
from bus.messages import ResultMessage, Usage
from bus.port import Bus
from bus.topics import control_channel
from tests.double import scripts
from tests.double.server import Provider
from tests.workernode.road import PATIENCE, RESULTS, Road
from workernode.backends import make_backend
from workernode.settings import WorkerSettings

QUESTION = {"model": "m", "messages": [{"role": "user", "content": "When does water boil?"}]}
Drive = Callable[..., AbstractAsyncContextManager[Road]]


@pytest.fixture
def drive(embedded_bus: Bus, provider: Provider) -> Drive:
    """A remote worker in front of the double."""

    @contextlib.asynccontextmanager
    async def opened(**fields: Any) -> AsyncIterator[Road]:
        usual: dict[str, Any] = {"node_type": "remote", "model_name": "m", "bus_url": "x", "res_topic_name": RESULTS}
        provided = {"api_url": provider.url, "api_key": "sk-test-0123456789", "max_attempts": 1, "grace_seconds": 5}
        settings = WorkerSettings(**usual | provided | fields)
        backend = make_backend(settings)
        await backend.start()
        road = Road(embedded_bus, backend, settings)
        await road.start()
        living = asyncio.create_task(road.live())
        await road.present()
        yield road
        road.stop.signal()
        await living
        await backend.close()

    return opened


def in_order(result: ResultMessage) -> list[str]:
    """The stages that happened. Their times are in order, and within the attempt's."""
    assert result.timestamps is not None
    assert result.stages is not None
    times = msgspec.structs.asdict(result.timestamps)
    known = [value for value in times.values() if value is not None]
    assert known == sorted(known)
    assert known[-1] <= time.time()
    return [name for name, value in msgspec.structs.asdict(result.stages).items() if value is not None]


async def test_a_plain_answer_is_billed_with_all_that_is_known(drive: Drive, provider: Provider) -> None:
    provider.delay = 0.05
    body = msgspec.json.encode({**QUESTION, "user": "u-1", "max_tokens": 50, "tools": []})
    metadata = {"headers": {"User-Agent": ["curl/8"], "X-Forwarded-For": ["192.0.2.1"]}}
    async with drive(aimodel_name="gpt", aimodel_namespace="ns") as road:
        await road.send(data=msgspec.Raw(body), metadata=metadata, submitted_at=time.time())
        result = await road.result()
    assert in_order(result) == ["queued", "admission", "connecting", "generating", "replying"]
    assert result.stages is not None
    assert result.stages.generating is not None
    assert result.stages.generating >= 0.05
    assert result.client == Client(user_agent="curl/8", user="u-1", address="192.0.2.1")
    assert result.request == RequestDetails(operation="chat", bytes=len(body), messages=1, tools=0, max_tokens=50)
    assert result.provider is not None
    assert result.provider.address == provider.url.removeprefix("http://")
    assert (result.provider.status, result.provider.model) == (200, "m")
    assert result.provider.response_id
    assert result.usage == Usage(4, 6, 10, {"cached_tokens": 0})
    assert (result.ai_model_name, result.ai_model_namespace) == ("gpt", "ns")
    assert result.node_version == version("agentos")


async def test_a_streams_first_token_and_pace_are_told(drive: Drive, provider: Provider) -> None:
    provider.pace = 0.02
    async with drive() as road:
        await road.send(data=QUESTION, stream=True)
        result = await road.result()
    assert in_order(result)[-4:] == ["connecting", "first_token", "generating", "replying"]
    assert result.stages is not None
    assert result.stages.generating is not None
    assert result.stages.generating >= 5 * 0.02
    assert result.request is not None
    assert result.request.stream
    assert result.usage == Usage(4, 6, 10, {"cached_tokens": 0})
    assert not result.estimated


@pytest.mark.parametrize("stream", [False, True])
async def test_a_refusal_tells_the_providers_status(drive: Drive, provider: Provider, stream: bool) -> None:
    provider.script(scripts.refuse(400, "context_length_exceeded"))
    async with drive() as road:
        await road.send(data=QUESTION, stream=stream)
        result = await road.result()
    assert result.outcome == "failed"
    assert "first_token" not in in_order(result)
    assert result.provider is not None
    assert (result.provider.status, result.provider.model) == (400, None)


async def test_a_stream_that_breaks_is_billed_as_estimated(drive: Drive, provider: Provider) -> None:
    provider.script(scripts.DROP)
    async with drive() as road:
        await road.send(data=QUESTION, stream=True)
        result = await road.result()
    assert (result.outcome, result.usage, result.estimated) == ("failed", Usage(6, 4, 10), True)
    assert {"first_token", "generating"} <= set(in_order(result))
    assert result.provider is not None
    assert (result.provider.status, result.provider.model) == (200, "m")


async def test_a_cancelled_stream_is_billed_for_what_had_come(drive: Drive, provider: Provider) -> None:
    provider.script(scripts.HANG_IN_STREAM)
    async with drive() as road:
        await road.send(data=QUESTION, stream=True)
        async with asyncio.timeout(PATIENCE):
            while not (await road.frame()).data:
                pass
        await road.frame()  # the first text
        await road.bus.send(control_channel("m"), b'{"cancel":["r1"]}')
        result = await road.result()
    assert (result.outcome, result.usage, result.estimated) == ("cancelled", Usage(6, 2, 8), True)
    assert "first_token" in in_order(result)
    assert result.provider is not None
    assert result.provider.model == "m"


async def test_a_provider_that_is_not_there_is_told_by_its_address(drive: Drive, provider: Provider) -> None:
    address = provider.url.removeprefix("http://")
    await provider.close()
    async with drive() as road:
        await road.send(data=QUESTION)
        result = await road.result()
    assert (result.outcome, result.reached_provider) == ("failed", False)
    assert "connecting" not in in_order(result)
    assert result.provider is not None
    assert (result.provider.address, result.provider.status) == (address, None)
