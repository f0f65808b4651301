"""Health, readiness and metrics of a daemon, over HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from core.errors import AgentOSError
from core.liveness import Liveness


def probes(ready: Callable[[], Awaitable[None]], liveness: Liveness) -> list[Route]:
    """`/health`: the event loop turns, and whoever must show progress does. `/ready`: `ready` returns.

    What is stuck, and what `ready` raises, is told with status 503.
    """

    async def health(_: Request) -> Response:
        stuck = liveness.stuck()
        return _unavailable("; ".join(stuck)) if stuck else JSONResponse({"status": "ok"})

    async def readiness(_: Request) -> Response:
        try:
            await ready()
        except AgentOSError as error:
            return _unavailable(str(error))
        return JSONResponse({"status": "ok"})

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return [Route("/health", health), Route("/ready", readiness), Route("/metrics", metrics)]


def _unavailable(reason: str) -> Response:
    return JSONResponse({"status": "unavailable", "reason": reason}, 503)
