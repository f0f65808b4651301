"""Replies to an endpoint, over real sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web

from bus.messages import RequestMessage
from workernode.classify import error_object
from workernode.endpoint import EndpointPost, EndpointSocket, post_address, websocket_address

ERROR = error_object("It failed.", "upstream_error", "boom")


class Program:
    """A program of the earlier system: hears replies. `refuse`: POSTs to turn down first; `redirect`: where to."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[Any] = asyncio.Queue()
        self.refuse = 0
        self.redirect = ""
        self.address = ""

    async def post(self, request: web.Request) -> web.Response:
        self.heard.put_nowait(await request.json())
        if self.redirect:
            raise web.HTTPTemporaryRedirect(self.redirect)
        self.refuse -= 1
        return web.Response(status=503 if self.refuse >= 0 else 200)

    async def socket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            self.heard.put_nowait(json.loads(message.data))
        return socket


@pytest.fixture
async def program() -> AsyncIterator[Program]:
    program = Program()
    app = web.Application()
    app.router.add_post("/reply", program.post)
    app.router.add_get("/reply", program.socket)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    program.address = f"http://{host}:{port}/reply"
    yield program
    await runner.cleanup()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
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
    assert program.heard.qsize() == 3


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
