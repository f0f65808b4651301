"""Serves an ASGI application inside a daemon that owns its own signals and its own end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

import uvicorn

from core.errors import PartError


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # signals belong to core.run


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes any free one. Raises `PartError` with what to do."""
    try:
        return socket.create_server((host, port), backlog=2048, reuse_port=False)
    except OSError as error:
        raise PartError(f"cannot listen on {host}:{port}: {error.strerror}; set PORT to a free one") from error


@contextlib.asynccontextmanager
async def serving(app: Any, listener: socket.socket, *, grace: float) -> AsyncIterator[asyncio.Task[None]]:
    """Serves until the block ends, then lets open responses finish for at most `grace` seconds."""
    config = uvicorn.Config(
        app,
        loop="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        ws="none",
        proxy_headers=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=max(1, round(grace)),
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]), name="http server")
    try:
        yield task
    finally:
        server.should_exit = True
        await task
