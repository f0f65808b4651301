from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from bus.messages import Usage
from core.errors import ConfigurationError
from tests.double import scripts
from tests.double.answers import WORDS
from tests.double.server import Provider
from tests.workernode.chunks import Chunks
from workernode.backends.base import Call
from workernode.backends.remote import RemoteBackend, base_address
from workernode.classify import Retry
from workernode.errors import BackendUnavailable, CallFailed

KEY = "sk-test-0123456789abcdef"
ANSWER = "".join(WORDS)


def make_remote(url: str, **options: Any) -> RemoteBackend:
    return RemoteBackend(url, KEY, **{"slots": 8, "idle_timeout": 20.0, "call_timeout": 30.0} | options)


@pytest.fixture
async def remote(provider: Provider) -> AsyncIterator[RemoteBackend]:
    backend = make_remote(provider.url)
    await backend.start()
    yield backend
    await backend.close()


def make_call(*, stream: bool = False, **fields: Any) -> Call:
    messages = [{"role": "user", "content": "When does water boil?"}]
    return Call("r-1", {"model": "test-model", "messages": messages, **fields}, stream)


async def failure(remote: RemoteBackend, call: Call) -> CallFailed:
    with pytest.raises(CallFailed) as failed:
        await remote.call(call, Chunks())
    return failed.value


@pytest.mark.parametrize("suffix", ["", "/", "/v1", "/v1/", "//"])
async def test_the_address_is_the_same_with_and_without_v1(provider: Provider, suffix: str) -> None:
    backend = make_remote(provider.url + suffix)
    await backend.start()
    answer = await backend.call(make_call(), None)
    await backend.close()
    assert json.loads(answer.response)["choices"][0]["message"]["content"] == ANSWER


@pytest.mark.parametrize("address", ["", "api.openai.com", "ftp://host", "https://", "https://host/?key=1"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ConfigurationError, match="API_URL"):
        base_address(address)


def test_a_path_before_v1_is_kept() -> None:
    assert base_address("https://host/openai/v1/") == "https://host/openai"


async def test_a_plain_call_is_forwarded_as_it_is(provider: Provider, remote: RemoteBackend) -> None:
    call = make_call(temperature=0.5, brand_new_field={"deep": [1, None]})
    answer = await remote.call(call, None)
    seen = await provider.call()
    assert seen.body == call.body
    assert seen.headers["authorization"] == f"Bearer {KEY}"
    assert answer.usage == Usage(4, 6, 10, {"cached_tokens": 0})
    assert not answer.estimated
    assert answer.first_token_at is None


async def test_the_messages_stream_field_wins_over_the_bodys(provider: Provider, remote: RemoteBackend) -> None:
    await remote.call(make_call(stream=False), None)
    plain = Call("r", {**make_call().body, "stream": True, "stream_options": {"include_usage": True}}, False)
    await remote.call(plain, None)
    body = (await provider.call(1)).body
    assert body["stream"] is False
    assert "stream_options" not in body


async def test_forwarded_headers_do_not_replace_the_nodes_key(provider: Provider, remote: RemoteBackend) -> None:
    headers = {"Authorization": "Bearer client", "X-Trace": "t", "Host": "h", "X-Bad": "a\r\nb", "X Bad": "b"}
    await remote.call(Call("r", make_call().body, False, headers), None)
    seen = await provider.call()
    assert seen.headers["authorization"] == f"Bearer {KEY}"
    assert seen.headers["x-trace"] == "t"
    assert seen.headers["host"] == provider.url.removeprefix("http://")
    assert not {"x-bad", "x bad"} & seen.headers.keys()


@pytest.mark.parametrize("asked", [True, False])
async def test_a_streams_usage_is_always_known_and_shown_to_who_asked(
    provider: Provider, remote: RemoteBackend, asked: bool
) -> None:
    options = {"stream_options": {"include_usage": True, "other": 1}} if asked else {}
    chunks = Chunks()
    answer = await remote.call(make_call(stream=True, **options), chunks)
    assert chunks.text() == ANSWER
    assert [bool(chunk.get("usage")) for chunk in chunks] == [False] * (len(chunks) - 1) + [asked]
    assert answer.usage == Usage(4, 6, 10, {"cached_tokens": 0})
    assert answer.first_token_at is not None
    assert (await provider.call()).body["stream_options"] == {
        **options.get("stream_options", {}),
        "include_usage": True,
    }


@pytest.mark.parametrize("step", [scripts.ANSWER, scripts.NO_DONE])
async def test_a_stream_adds_up_to_the_plain_answer(
    provider: Provider, remote: RemoteBackend, step: scripts.Step
) -> None:
    plain = json.loads((await remote.call(make_call(), None)).response)
    provider.script(step)
    streamed = json.loads((await remote.call(make_call(stream=True), Chunks())).response)
    del plain["choices"][0]["message"]["refusal"]  # the double streams none
    assert streamed == plain


async def test_a_response_that_does_not_end_after_its_answer_does_not_matter(
    provider: Provider, remote: RemoteBackend
) -> None:
    provider.script(scripts.HANG_AFTER_DONE)
    answer = await remote.call(make_call(stream=True), Chunks())
    assert answer.usage.completion_tokens == 6
    await (await provider.call()).left.wait()


async def test_calls_one_after_another_share_a_connection(provider: Provider, remote: RemoteBackend) -> None:
    provider.script(scripts.ANSWER, scripts.ANSWER, scripts.refuse(400), scripts.HTML, scripts.ANSWER)
    for number in range(5):
        try:
            await remote.call(make_call(stream=number % 2 == 0), Chunks())
        except CallFailed:
            assert number in (2, 3)
    assert len({seen.peer for seen in provider.calls}) == 1


async def test_an_upstream_that_cannot_stream_is_streamed(provider: Provider, remote: RemoteBackend) -> None:
    provider.script(scripts.PLAIN)
    chunks = Chunks()
    answer = await remote.call(make_call(stream=True, stream_options={"include_usage": True}), chunks)
    assert chunks.text() == ANSWER
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert chunks[1]["choices"][0]["finish_reason"] == "stop"
    assert chunks[-1]["usage"]["total_tokens"] == 10
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert json.loads(answer.response)["object"] == "chat.completion"


async def test_a_plain_request_answered_by_a_stream_is_assembled(provider: Provider, remote: RemoteBackend) -> None:
    provider.script(scripts.STREAM)
    answer = await remote.call(make_call(), None)
    assert json.loads(answer.response)["choices"][0]["message"] == {"role": "assistant", "content": ANSWER}
    assert answer.estimated  # a plain request cannot ask a stream for its usage


@pytest.mark.parametrize("stream", [True, False])
async def test_usage_that_is_not_stated_is_estimated(provider: Provider, remote: RemoteBackend, stream: bool) -> None:
    provider.script(scripts.NO_USAGE)
    answer = await remote.call(make_call(stream=stream), Chunks())
    assert answer.estimated
    assert answer.usage == Usage(6, 6, 12)  # 21 and 23 bytes


@pytest.mark.parametrize("step", [scripts.HTML, scripts.HTML_502])
@pytest.mark.parametrize("stream", [True, False])
async def test_html_is_a_bad_gateway_and_is_not_shown(
    provider: Provider, remote: RemoteBackend, step: scripts.Step, stream: bool
) -> None:
    provider.script(step)
    failed = await failure(remote, make_call(stream=stream))
    assert (failed.status, failed.retry) == (502, Retry.BACK_OFF)
    assert failed.error["code"] == ("upstream_bad_response" if step.status == 200 else None)
    assert "<" not in failed.error["message"]


@pytest.mark.parametrize("step", [scripts.HALF_STREAM, scripts.DROP])
async def test_half_a_stream_fails_with_what_it_used(
    provider: Provider, remote: RemoteBackend, step: scripts.Step
) -> None:
    provider.script(step)
    failed = await failure(remote, make_call(stream=True))
    assert failed.error["code"] == (
        "upstream_incomplete" if step is scripts.HALF_STREAM else "upstream_connection_lost"
    )
    assert (failed.status, failed.retry, failed.reached_provider) == (502, Retry.BACK_OFF, True)
    assert failed.usage == Usage(6, 4, 10)  # "Water boils at"


async def test_an_answer_cut_short_is_a_lost_connection(provider: Provider, remote: RemoteBackend) -> None:
    provider.script(scripts.DROP)
    failed = await failure(remote, make_call())
    assert (failed.error["code"], failed.usage) == ("upstream_connection_lost", None)


@pytest.mark.parametrize(
    ("step", "code"), [(scripts.ERROR_IN_STREAM, None), (scripts.NOT_JSON_IN_STREAM, "upstream_bad_response")]
)
async def test_trouble_within_a_stream_ends_it(
    provider: Provider, remote: RemoteBackend, step: scripts.Step, code: str | None
) -> None:
    provider.script(step)
    failed = await failure(remote, make_call(stream=True))
    assert (failed.error["code"], failed.retry) == (code, Retry.BACK_OFF)
    assert failed.usage == Usage(6, 2, 8)


async def test_a_provider_that_hangs_within_a_stream_is_given_up(provider: Provider) -> None:
    provider.script(scripts.HANG_IN_STREAM)
    backend = make_remote(provider.url, idle_timeout=0.2)
    await backend.start()
    failed = await failure(backend, make_call(stream=True))
    assert (failed.status, failed.error["code"], failed.retry) == (504, "upstream_timeout", Retry.BACK_OFF)
    await (await provider.call()).left.wait()
    await backend.close()


async def test_a_provider_that_never_answers_is_given_up(provider: Provider) -> None:
    provider.script(scripts.HANG)
    backend = make_remote(provider.url, call_timeout=0.2)
    await backend.start()
    failed = await failure(backend, make_call())
    assert (failed.status, failed.error["code"], failed.retry) == (504, "upstream_timeout", Retry.NEVER)
    await (await provider.call()).left.wait()
    await backend.close()


@pytest.mark.parametrize("stream", [True, False])
async def test_cancelling_a_call_stops_the_work_upstream_and_tells_what_was_used(
    provider: Provider, remote: RemoteBackend, stream: bool
) -> None:
    provider.script(scripts.HANG_IN_STREAM if stream else scripts.HANG)
    chunks = Chunks()
    call = make_call(stream=stream)
    task = asyncio.create_task(remote.call(call, chunks))
    seen = await provider.call()
    if stream:
        await chunks.first.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await seen.left.wait()
    assert call.progress.usage() == (Usage(6, 2, 8) if stream else None)


@pytest.mark.parametrize("key", ["", "sk-other-0123456789"])
async def test_a_refused_key_is_not_the_clients_fault_and_is_not_shown(provider: Provider, key: str) -> None:
    provider.key = "sk-right"
    backend = RemoteBackend(provider.url, key, slots=1, idle_timeout=20, call_timeout=30)
    await backend.start()
    failed = await failure(backend, make_call())
    assert (failed.status, failed.error["code"]) == (502, "upstream_authentication_failed")
    assert (failed.retry, failed.node_unavailable) == (Retry.ELSEWHERE, True)
    assert "sk-" not in json.dumps(failed.error) + str(failed)
    with pytest.raises(BackendUnavailable, match="API_KEY"):
        await backend.check()
    await backend.close()


async def test_a_check_does_not_wait_for_a_slot(provider: Provider) -> None:
    provider.hold(0)
    backend = make_remote(provider.url, slots=1)
    await backend.start()
    calling = asyncio.create_task(backend.call(make_call(), None))
    await provider.call()
    async with asyncio.timeout(10):
        await backend.check()
    assert not calling.done()
    provider.release()
    await calling
    await backend.close()


async def test_a_used_up_quota_is_for_another_node(provider: Provider, remote: RemoteBackend) -> None:
    provider.script(scripts.NO_QUOTA)
    failed = await failure(remote, make_call())
    assert (failed.status, failed.retry, failed.node_unavailable) == (502, Retry.ELSEWHERE, True)


async def test_a_rate_limit_says_when_to_come_again(provider: Provider, remote: RemoteBackend) -> None:
    provider.rpm = 1
    await remote.call(make_call(), None)
    failed = await failure(remote, make_call())
    assert (failed.status, failed.error["code"], failed.retry) == (429, "rate_limit_exceeded", Retry.LATER)
    assert failed.retry_after is not None
    assert 50 <= failed.retry_after <= 60


async def test_an_error_of_the_clients_own_passes_through(provider: Provider, remote: RemoteBackend) -> None:
    provider.script(scripts.refuse(400, "context_length_exceeded"))
    failed = await failure(remote, make_call())
    assert (failed.status, failed.retry) == (400, Retry.NEVER)
    assert failed.error["code"] == "context_length_exceeded"
    assert failed.error["message"] == "The script refuses."


async def test_an_upstream_that_is_not_there_was_not_reached(provider: Provider) -> None:
    backend = make_remote(provider.url)
    await backend.start()
    await provider.close()
    failed = await failure(backend, make_call())
    assert (failed.error["code"], failed.reached_provider) == ("upstream_unreachable", False)
    assert failed.retry is Retry.BACK_OFF
    with pytest.raises(BackendUnavailable):
        await backend.check()
    await backend.close()


async def test_what_does_not_speak_http_is_a_bad_response() -> None:
    async def hello(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example.com ESMTP\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(hello, "127.0.0.1", 0) as server:
        backend = make_remote(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        await backend.start()
        assert (await failure(backend, make_call())).error["code"] == "upstream_bad_response"
        await backend.close()


async def test_a_ready_upstream_is_told_so_and_close_may_come_twice(
    provider: Provider, remote: RemoteBackend
) -> None:
    await remote.check()
    await remote.close()
    await remote.close()
    with pytest.raises(BackendUnavailable):
        await remote.check()
