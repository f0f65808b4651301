"""Whether the gateway can be reached: its port before the start, its answers after it."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Collection

import aiohttp

from core.errors import ConfigurationError, PartError

READY_SECONDS = 120.0
PAUSE_SECONDS = 0.1


def free_port(host: str, port: int) -> int:
    """`port` if nobody listens there, or any free one for 0. Raises `ConfigurationError` with what to do."""
    try:
        with socket.create_server((host, port)) as listener:
            return int(listener.getsockname()[1])
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise ConfigurationError(f"cannot listen on {host}:{port}: {error.strerror}") from error
        raise ConfigurationError(
            f"port {port} is taken by another program; stop that one or take another port, PORT={port + 9} "
            "(agentos cleanup ends what earlier runs of AgentOS have left)"
        ) from error


async def wait_until_ready(url: str, models: Collection[str]) -> None:
    """Returns when the gateway is ready and lists `models`. Raises `PartError` after `READY_SECONDS`."""
    seen = "no answer"
    try:
        async with asyncio.timeout(READY_SECONDS), aiohttp.ClientSession() as session:
            while True:
                seen = await _missing(session, url, models)
                if not seen:
                    return
                await asyncio.sleep(PAUSE_SECONDS)
    except TimeoutError as error:
        raise PartError(f"the gateway at {url} is not ready after {READY_SECONDS:g} s: {seen}") from error


async def _missing(session: aiohttp.ClientSession, url: str, models: Collection[str]) -> str:
    """What is not ready yet, for a person; empty if everything is."""
    try:
        async with session.get(url + "/ready") as ready:
            if ready.status != 200:
                return f"/ready answers {ready.status}"
        async with session.get(url + "/v1/models") as listed:
            known = {each["id"] for each in (await listed.json())["data"]}
    except (aiohttp.ClientError, KeyError, TypeError, ValueError) as error:
        return type(error).__name__
    unknown = [model for model in models if model not in known]
    return f"no worker for {', '.join(unknown)} yet" if unknown else ""
