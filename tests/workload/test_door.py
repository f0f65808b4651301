"""Where no gateway answers, and where something else does."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiohttp import web

from core.errors import ConfigurationError
from workload.client import Client
from workload.errors import GatewayRefused, GatewayUnavailable


@pytest_asyncio.fixture
async def another_program() -> AsyncIterator[str]:
    """Its address; it is a web server, but no gateway."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=200 if request.path.endswith("models") else 404, text="<html>")

    application = web.Application()
    application.router.add_route("*", "/{any:.*}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    yield f"http://{host}:{port}"
    await runner.cleanup()


async def test_where_nothing_answers_the_message_says_what_to_do(unused_tcp_port_factory) -> None:  # type: ignore[no-untyped-def]
    urls = [f"http://127.0.0.1:{unused_tcp_port_factory()}" for _ in range(2)]
    async with Client(",".join(urls), patience=1000) as client:
        with pytest.raises(GatewayUnavailable) as raised:
            await client.tasks()
    for words in (*urls, "Connection refused", "agentos up", "AGENTOS_URL"):
        assert words in str(raised.value)


async def test_another_program_is_told_from_a_gateway(another_program: str) -> None:
    async with Client(another_program) as client:
        with pytest.raises(GatewayUnavailable, match="no gateway"):
            await client.models()
        with pytest.raises(GatewayRefused, match="404") as raised:
            await client.tasks()
    assert raised.value.code == "status 404"


@pytest.mark.parametrize("url", ["", "127.0.0.1:8081", "http://a,", "ftp://a"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="no address"):
        Client(url)


def test_addresses_may_be_those_of_openai_clients() -> None:
    assert Client("http://a:1/v1/, https://b").door.urls == ["http://a:1", "https://b"]


async def test_a_client_may_be_closed_twice() -> None:
    client = Client()
    await client.__aexit__()
    async with client:
        pass
    await client.__aexit__()
