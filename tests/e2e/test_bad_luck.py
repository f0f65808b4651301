"""Bad input and a provider that misbehaves: an error by name, the message settled, the worker alive."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import openai
import psutil
import pytest
import pytest_asyncio

from tests.double.scripts import (
    DROP,
    ERROR_IN_STREAM,
    HALF_STREAM,
    HANG_IN_STREAM,
    HTML,
    HTML_502,
    NO_QUOTA,
    Step,
    refuse,
)
from tests.double.server import Provider
from tests.e2e.asking import ANSWER, QUESTION, ask, ask_in_stream, text_of
from tests.fixtures.fleet import Counts, Daemon, Fleet, Site, until

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("e2e-bad-luck")]

SECONDS = 1.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(
    site: Site, module_provider: Provider, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Fleet]:
    """One slot, so that a request can be made to wait; one attempt, so that a failure is final."""
    directory: Path = tmp_path_factory.mktemp("fleet")
    worker = {
        "API_URL": module_provider.url,
        "API_KEY": "sk-test",
        "MAX_PROCESS_NUM": "1",
        "AGENTOS_MAX_ATTEMPTS": "1",
        "AGENTOS_IDLE_TIMEOUT_SECONDS": str(SECONDS),
        "AGENTOS_CALL_TIMEOUT_SECONDS": str(2 * SECONDS),
    }
    with Fleet(site, directory) as fleet:
        await fleet.start(fleet.coordinator(), fleet.worker(**worker))
        yield fleet


@pytest_asyncio.fixture(loop_scope="module")
async def client(fleet: Fleet, upstream: Provider) -> AsyncIterator[openai.AsyncOpenAI]:
    """Whatever a test does, the fleet answers afterwards."""
    async with fleet.client() as client:
        yield client
        upstream.key, upstream.delay = "", 0.0
        assert await until(lambda: answer_of(client, fleet), "the node is well") == ANSWER


async def answer_of(client: openai.AsyncOpenAI, fleet: Fleet) -> str | None:
    try:
        return await ask(client, fleet.model)
    except openai.InternalServerError as error:
        if error.code != "model_unavailable":
            raise
        return None


async def post(fleet: Fleet, **request: Any) -> tuple[int, dict[str, Any]]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(fleet.url + "/v1/chat/completions", **request) as response,
    ):
        return response.status, (await response.json())["error"]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"not json", b'{"model": "\xff\xfe"}', b'{"model": "m", "messages": [{}]}\0']
)
async def test_what_is_not_json_is_a_bad_request(client: openai.AsyncOpenAI, fleet: Fleet, body: bytes) -> None:
    status, error = await post(fleet, data=body)
    assert (status, error["type"], error["code"]) == (400, "invalid_request_error", "invalid_json")


@pytest.mark.parametrize("body", [b"[]", b"7", b'"text"', b"{}", b'{"model": null, "messages": null}'])
async def test_json_of_another_kind_is_a_bad_request(client: openai.AsyncOpenAI, fleet: Fleet, body: bytes) -> None:
    status, error = await post(fleet, data=body)
    assert (status, error["type"]) == (400, "invalid_request_error")


async def test_a_body_of_50_mb_is_refused_and_never_held(client: openai.AsyncOpenAI, fleet: Fleet) -> None:
    gateway = fleet.gateway
    assert gateway is not None
    before = memory(gateway)
    status, error = await post(fleet, data=io.BytesIO(b" " * (50 << 20)))
    assert (status, error["code"]) == (413, "request_too_large")
    assert memory(gateway) - before < 20 << 20


async def test_a_body_of_50_mb_that_does_not_tell_its_size_is_refused(
    client: openai.AsyncOpenAI, fleet: Fleet
) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(50):
            yield b" " * (1 << 20)

    status, error = await post(fleet, data=endless())
    assert (status, error["code"]) == (413, "request_too_large")


def memory(daemon: Daemon) -> int:
    """Bytes of the process in memory."""
    return int(psutil.Process(daemon.pid).memory_info().rss)


async def test_a_wrong_key_is_the_nodes_fault_and_is_not_shown(
    client: openai.AsyncOpenAI, fleet: Fleet, upstream: Provider
) -> None:
    upstream.key = "sk-another"
    error = await fails(client, fleet, openai.InternalServerError)
    assert (error.status_code, error.code) == (502, "upstream_authentication_failed")
    assert "sk-" not in str(error.body)
    # From then on nobody waits for a node that cannot serve.
    codes = [(await fails(client, fleet, openai.InternalServerError)).code for _ in range(5)]
    assert codes[-1] == "model_unavailable"


async def test_a_request_that_waits_is_ended_when_nobody_can_serve_it(site: Site, tmp_path: Path) -> None:
    """With attempts left, the request that meets the wrong key waits for another node; there is none."""
    async with Provider(key="sk-test") as provider:
        with Fleet(site, tmp_path) as fleet:
            await fleet.start(fleet.coordinator(), fleet.worker(API_URL=provider.url, API_KEY="sk-test"))
            provider.key = "sk-another"
            async with fleet.client() as client:
                error = await fails(client, fleet, openai.InternalServerError)
    assert (error.status_code, error.code) == (503, "model_unavailable")


@pytest.mark.parametrize(
    ("step", "status", "code"),
    [
        (HTML, 502, "upstream_bad_response"),
        (HTML_502, 502, None),
        (DROP, 502, "upstream_connection_lost"),
        (NO_QUOTA, 502, "upstream_quota_exceeded"),
        (refuse(503, "overloaded"), 503, "overloaded"),
        (refuse(400, "context_length_exceeded"), 400, "context_length_exceeded"),
        (Step("hang"), 504, "upstream_timeout"),
    ],
)
async def test_a_failed_call_is_told_folded_and_billed_once(
    client: openai.AsyncOpenAI,
    fleet: Fleet,
    upstream: Provider,
    before: Counts,
    step: Step,
    status: int,
    code: str | None,
) -> None:
    upstream.script(step)
    error = await fails(client, fleet, openai.APIStatusError)
    assert (error.status_code, error.code) == (status, code)
    assert len(upstream.calls) == 1
    assert await fleet.folded(progress=1, since=before) == Counts(tasks=1, progress=1, ledger=1, outbox=0)
    (row,) = await fleet.rows("select outcome, status from ledger order by folded_at desc limit 1")
    assert tuple(row) == ("failed", status)


async def fails(client: openai.AsyncOpenAI, fleet: Fleet, kind: type[openai.APIStatusError]) -> openai.APIStatusError:
    with pytest.raises(kind) as caught:
        await ask(client, fleet.model)
    return caught.value


@pytest.mark.parametrize("step", [HALF_STREAM, DROP, HANG_IN_STREAM, ERROR_IN_STREAM])
async def test_a_stream_that_breaks_ends_in_an_error_and_is_billed_by_what_came(
    client: openai.AsyncOpenAI, fleet: Fleet, upstream: Provider, before: Counts, step: Step
) -> None:
    upstream.script(step)
    stream = await client.chat.completions.create(model=fleet.model, messages=QUESTION, stream=True)
    with pytest.raises(openai.APIError) as caught:
        await text_of(stream)
    assert caught.value.body
    assert await fleet.folded(progress=1, since=before) == Counts(tasks=1, progress=1, ledger=1, outbox=0)
    (row,) = await fleet.rows("select outcome, prompt_tokens, estimated from ledger order by folded_at desc limit 1")
    assert row["outcome"] == "failed"
    assert row["estimated"]
    assert row["prompt_tokens"] > 0


async def test_a_stream_that_fails_before_its_first_chunk_has_the_status_of_the_error(
    client: openai.AsyncOpenAI, fleet: Fleet, upstream: Provider
) -> None:
    upstream.script(refuse(400, "context_length_exceeded"))
    with pytest.raises(openai.BadRequestError) as caught:
        await ask_in_stream(client, fleet.model)
    assert caught.value.code == "context_length_exceeded"


async def test_a_rate_limit_delays_an_answer_and_fails_nothing(
    client: openai.AsyncOpenAI, fleet: Fleet, upstream: Provider
) -> None:
    upstream.script(refuse(429, "rate_limit_exceeded", retry_after="1"))
    assert await ask(client, fleet.model) == ANSWER
    assert len(upstream.calls) == 2


async def test_a_request_whose_client_leaves_while_it_waits_is_never_called(
    client: openai.AsyncOpenAI, fleet: Fleet, upstream: Provider, before: Counts
) -> None:
    upstream.delay = SECONDS
    first = asyncio.create_task(ask(client, fleet.model))
    await upstream.call()
    with pytest.raises(openai.APITimeoutError):
        await client.chat.completions.create(model=fleet.model, messages=QUESTION, timeout=SECONDS / 2)
    assert not first.done()
    await first
    added = await fleet.folded(progress=2, since=before)
    assert added == Counts(tasks=2, progress=2, ledger=1, outbox=0)
    assert len(upstream.calls) == 1


async def test_a_slow_answer_within_the_limit_is_waited_for(
    client: openai.AsyncOpenAI, fleet: Fleet, upstream: Provider
) -> None:
    upstream.delay = 1.2 * SECONDS
    began = time.monotonic()
    await ask(client, fleet.model)
    assert time.monotonic() - began >= upstream.delay
