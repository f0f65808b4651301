"""Health, readiness and metrics of a daemon, over HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from core.errors import AgentOSError


def probes(ready: Callable[[], Awaitable[None]]) -> list[Route]:
    """`/health`: the event loop turns. `/ready`: `ready` returns; what it raises is told with status 503."""

    async def health(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readiness(_: Request) -> Response:
        try:
            await ready()
        except AgentOSError as error:
            return JSONResponse({"status": "unavailable", "reason": str(error)}, 503)
        return JSONResponse({"status": "ok"})

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return [Route("/health", health), Route("/ready", readiness), Route("/metrics", metrics)]
