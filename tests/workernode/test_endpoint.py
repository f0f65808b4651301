"""Replies to an endpoint, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web

from bus.messages import RequestMessage
from workernode import endpoint as module
from workernode.classify import error_object
from workernode.endpoint import UNREPLIED, EndpointPost, EndpointSocket, post_address, websocket_address
from workernode.endpoint_policy import EndpointPolicy
from workernode.endpoint_session import endpoint_session
from workernode.errors import EndpointRefused

ERROR = error_object("It failed.", "upstream_error", "boom")


class Program:
    """A program of the earlier system: hears replies.

    `refuse`: POSTs to turn down first; `redirect`: where to; `endless`: answers for ever; `deaf`: never reads.
    """

    def __init__(self) -> None:
        self.heard: asyncio.Queue[Any] = asyncio.Queue()
        self.refuse = 0
        self.redirect = ""
        self.endless = self.deaf = False
        self.written = 0
        self.address = ""

    async def post(self, request: web.Request) -> web.StreamResponse:
        self.heard.put_nowait(await request.json())
        if self.redirect:
            raise web.HTTPTemporaryRedirect(self.redirect)
        if self.endless:
            return await self._answer_for_ever(request)
        self.refuse -= 1
        return web.Response(status=503 if self.refuse >= 0 else 200)

    async def _answer_for_ever(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(bytes(1 << 16))
            self.written += 1 << 16

    async def socket(self, request: web.Request) -> web.WebSocketResponse:
        if self.redirect:
            self.heard.put_nowait("asked")
            raise web.HTTPTemporaryRedirect(self.redirect)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        if self.deaf:
            await asyncio.Event().wait()
        async for message in socket:
            self.heard.put_nowait(json.loads(message.data))
        return socket


@pytest.fixture
async def program() -> AsyncIterator[Program]:
    program = Program()
    app = web.Application()
    app.router.add_post("/reply", program.post)
    app.router.add_get("/reply", program.socket)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    program.address = f"http://{host}:{port}/reply"
    yield program
    await runner.cleanup()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with endpoint_session(EndpointPolicy()) as session:
        yield session


def request(*, stream: bool = False) -> RequestMessage:
    return RequestMessage(request_id="r", data=msgspec.Raw(b"{}"), stream=stream)


@pytest.mark.parametrize(
    ("given", "socket", "post"),
    [
        ("http://h:1/p?q=1", "ws://h:1/p?q=1", "http://h:1/p?q=1"),
        ("ws://h/p", "ws://h/p", "http://h/p"),
        ("https://h/p", "wss://h/p", "https://h/p"),
    ],
)
def test_an_address_means_the_same_host_both_ways(given: str, socket: str, post: str) -> None:
    assert (websocket_address(given), post_address(given)) == (socket, post)


async def test_a_plain_answer_is_posted(program: Program, session: aiohttp.ClientSession) -> None:
    await EndpointPost(session, request(), program.address).answer(b'{"id":1}')
    assert await program.heard.get() == {"request_id": "r", "data": {"id": 1}}


async def test_an_error_is_posted_as_openai_has_it(program: Program, session: aiohttp.ClientSession) -> None:
    await EndpointPost(session, request(), program.address).fail(502, ERROR)
    assert await program.heard.get() == {"request_id": "r", "data": {"error": ERROR}}


async def test_a_post_that_is_turned_down_is_tried_again(program: Program, session: aiohttp.ClientSession) -> None:
    program.refuse = 2
    await EndpointPost(session, request(), program.address).answer(b"{}")
    assert program.heard.qsize() == 3


async def test_a_redirect_is_not_followed(program: Program, session: aiohttp.ClientSession) -> None:
    program.redirect = program.address + "-elsewhere"
    await EndpointPost(session, request(), program.address).answer(b"{}")
    assert program.heard.qsize() == 1


async def test_a_redirect_of_a_stream_is_not_followed(program: Program, session: aiohttp.ClientSession) -> None:
    program.redirect = program.address
    await EndpointSocket(session, request(stream=True), program.address).answer(b"{}")
    assert program.heard.qsize() == 1


def dropped(reason: str) -> float:
    return float(UNREPLIED.labels(reason)._value.get())


@pytest.mark.parametrize("kind", [EndpointPost, EndpointSocket])
@pytest.mark.parametrize(
    "address", ["http://169.254.169.254/", "ws://[::ffff:169.254.169.254]/", "http://[fe80::1]/"]
)
async def test_a_reply_to_a_refused_endpoint_is_dropped_and_counted(
    kind: type[EndpointPost | EndpointSocket],
    address: str,
    session: aiohttp.ClientSession,
    caplog: pytest.LogCaptureFixture,
) -> None:
    before = dropped("refused")
    await kind(session, request(stream=True), address).answer(b"{}")
    assert dropped("refused") == before + 1
    assert "link-local" in caplog.text


class Names(EndpointPolicy):
    """Stands for a name that has come to mean another address: the loop's resolver knows only real ones."""

    def refusal_of(self, host: str, port: int, address: str) -> str | None:
        return super().refusal_of(host, port, "169.254.169.254" if host == "localhost" else address)


@pytest.mark.parametrize("allow", ["", "localhost"])
async def test_a_name_is_refused_by_the_address_it_has_when_connecting(program: Program, allow: str) -> None:
    address = program.address.replace("127.0.0.1", "localhost")
    async with endpoint_session(Names(allow)) as session:
        with pytest.raises(EndpointRefused, match="link-local"):
            await session.post(address, data=b"{}")
    assert program.heard.empty()


@pytest.mark.parametrize(("allow", "heard"), [("localhost", True), ("127.0.0.0/8, ::1", True), ("10.0.0.0/8", False)])
async def test_the_allow_list_holds_for_names(program: Program, allow: str, heard: bool) -> None:
    address = program.address.replace("127.0.0.1", "localhost")
    async with endpoint_session(EndpointPolicy(allow)) as session:
        await EndpointPost(session, request(), address).answer(b"{}")
    assert program.heard.empty() != heard


async def test_an_ipv6_endpoint_is_replied_to(session: aiohttp.ClientSession) -> None:
    program = Program()
    app = web.Application()
    app.router.add_post("/reply", program.post)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "::1", 0).start()
    await EndpointPost(session, request(), f"http://[::1]:{runner.addresses[0][1]}/reply").answer(b"{}")
    await runner.cleanup()
    assert program.heard.qsize() == 1


async def test_an_endless_answer_is_not_read(program: Program, session: aiohttp.ClientSession) -> None:
    program.endless = True
    await EndpointPost(session, request(), program.address).answer(b"{}")
    written = program.written
    assert written < 16 << 20  # what the sockets between hold
    assert program.heard.qsize() == 1


@pytest.mark.parametrize("stream", [False, True])
async def test_an_endpoint_that_does_not_answer_holds_a_reply_for_a_bounded_time(
    stream: bool, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each byte of its answer comes in time, the whole never does."""
    monkeypatch.setattr(module, "REPLY_SECONDS", 0.3)

    given_up: list[asyncio.Task[Any] | None] = []

    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        given_up.append(asyncio.current_task())
        with contextlib.suppress(ConnectionError):
            writer.write(b"HTTP/1.1 200 OK\r\nx: ")
            while True:
                writer.write(b"y")
                await writer.drain()
                await asyncio.sleep(0.02)
        writer.close()

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    before = dropped("failed")
    kind = EndpointSocket if stream else EndpointPost
    async with asyncio.timeout(10):
        await kind(session, request(stream=stream), f"http://{host}:{port}/").answer(b"{}")
    assert dropped("failed") == before + 1
    await asyncio.wait([each for each in given_up if each])
    server.close()


async def test_a_program_that_does_not_read_holds_a_stream_for_a_bounded_time(
    program: Program, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REPLY_SECONDS", 0.3)
    program.deaf = True
    before = dropped("failed")
    reply = EndpointSocket(session, request(stream=True), program.address)
    for _ in range(200):
        reply.chunk(b'"' + b"x" * (1 << 16) + b'"')
    async with asyncio.timeout(20):
        await reply.answer(b"{}")
    await reply.close()
    assert dropped("failed") >= before + 1


@pytest.mark.parametrize("kind", [EndpointPost, EndpointSocket])
@pytest.mark.parametrize("address", ["http://127.0.0.1:1/", "not an address", "http://", "ftp://127.0.0.1/x"])
async def test_an_endpoint_that_cannot_be_reached_is_given_up(
    kind: type[EndpointPost | EndpointSocket], address: str, session: aiohttp.ClientSession
) -> None:
    await kind(session, request(stream=True), address).answer(b"{}")


async def test_a_stream_is_a_message_a_chunk_and_the_last_says_end(
    program: Program, session: aiohttp.ClientSession
) -> None:
    reply = EndpointSocket(session, request(stream=True), program.address)
    reply.chunk(b'{"n":1}')
    reply.chunk(b'{"n":2}')
    await reply.answer(b"{}")
    assert [await program.heard.get() for _ in range(3)] == [
        {"request_id": "r", "end": False, "data": {"n": 1}},
        {"request_id": "r", "end": False, "data": {"n": 2}},
        {"request_id": "r", "end": True},
    ]
    assert reply.started


async def test_a_stream_that_fails_ends_with_the_error(program: Program, session: aiohttp.ClientSession) -> None:
    reply = EndpointSocket(session, request(stream=True), program.address)
    reply.chunk(b'{"n":1}')
    await reply.fail(502, ERROR)
    await program.heard.get()
    assert await program.heard.get() == {"request_id": "r", "end": True, "data": {"error": ERROR}}


async def test_closing_half_way_gives_up_the_socket(program: Program, session: aiohttp.ClientSession) -> None:
    reply = EndpointSocket(session, request(stream=True), program.address)
    reply.chunk(b'{"n":1}')
    await program.heard.get()
    await reply.close()
    await reply.close()
