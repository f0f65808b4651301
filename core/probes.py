"""Health, readiness and metrics of a daemon, over HTTP.

`/health`: whoever must show progress does; `/ready`: work can be done; `/metrics`: Prometheus. What is wrong is told
with status 503.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from core.errors import AgentOSError
from core.loopwatch import LoopWatch

Ready = Callable[[], Awaitable[None]]
READY_SECONDS = 30.0
# Whoever connects and says nothing holds a thread for so long.
SILENT_CLIENT_SECONDS = 5.0


class Told(NamedTuple):
    """One answer."""

    status: int
    body: bytes
    media_type: str = "application/json"


def health(watch: LoopWatch) -> Told:
    """May be asked from any thread."""
    stuck = watch.stuck()
    return _unavailable("; ".join(stuck)) if stuck else _OK


async def readiness(ready: Ready) -> Told:
    """`ready` returns where work can be done, and raises an `AgentOSError` that says why where it cannot."""
    try:
        async with asyncio.timeout(READY_SECONDS):
            await ready()
    except TimeoutError:
        return _unavailable(f"no answer within {READY_SECONDS:g} s")
    except AgentOSError as error:
        return _unavailable(str(error))
    return _OK


def metrics() -> Told:
    """May be asked from any thread."""
    return Told(200, generate_latest(), CONTENT_TYPE_LATEST)


def probes(ready: Ready, watch: LoopWatch) -> list[Route]:
    """The probes among the routes of a daemon that serves HTTP anyway."""

    async def on_health(_: Request) -> Response:
        return _response(health(watch))

    async def on_ready(_: Request) -> Response:
        return _response(await readiness(ready))

    async def on_metrics(_: Request) -> Response:
        return _response(metrics())

    return [Route("/health", on_health), Route("/ready", on_ready), Route("/metrics", on_metrics)]


@contextlib.asynccontextmanager
async def serving_probes(listener: socket.socket, ready: Ready, watch: LoopWatch) -> AsyncIterator[None]:
    """Serves the probes alone, from threads of their own until the block ends: a check takes milliseconds however
    many streams the event loop has to serve first, and a loop that is blocked is told by name.
    """
    loop = asyncio.get_running_loop()
    answers: dict[str, Callable[[], Told]] = {
        "/health": lambda: health(watch),
        "/ready": lambda: asyncio.run_coroutine_threadsafe(readiness(ready), loop).result(),
        "/metrics": metrics,
    }

    class Handler(_Handler):
        paths = answers

    server = _Server(listener.getsockname(), Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = listener
    thread = threading.Thread(target=server.serve_forever, name="probes", daemon=True)
    thread.start()
    try:
        yield
    finally:
        await asyncio.to_thread(server.shutdown)
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that does not wait for its answer is no error of ours."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    timeout = SILENT_CLIENT_SECONDS
    paths: dict[str, Callable[[], Told]]

    def do_GET(self) -> None:
        answer = self.paths.get(self.path.partition("?")[0])
        told = answer() if answer else Told(404, b'{"paths":["/health","/ready","/metrics"]}')
        self.send_response(told.status, HTTPStatus(told.status).phrase)
        self.send_header("content-type", told.media_type)
        self.send_header("content-length", str(len(told.body)))
        self.end_headers()
        self.wfile.write(told.body)

    def log_message(self, format: str, *args: object) -> None:
        """Probes are not logged."""


_OK = Told(200, b'{"status":"ok"}')


def _unavailable(reason: str) -> Told:
    return Told(503, json.dumps({"status": "unavailable", "reason": reason}).encode())


def _response(told: Told) -> Response:
    return Response(told.body, told.status, media_type=told.media_type)
