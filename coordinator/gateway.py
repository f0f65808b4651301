"""The gateway's routes. Everything under `/v1` is served under `/api/v1` as well, as the earlier system did."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from bus.operations import PATHS
from coordinator.completion import Completions, Endpoint
from coordinator.graph.description import DescriptionRefused
from coordinator.models import Models
from coordinator.openai import RequestRefused, model_object, unknown_model
from coordinator.tasks.refusals import description_refused
from core.errors import AgentOSError
from core.loopwatch import LoopWatch
from core.probes import probes


def gateway_app(
    completions: Completions,
    models: Models,
    tasks: Sequence[Route],
    ready: Callable[[], Awaitable[None]],
    watch: LoopWatch,
) -> Starlette:
    """The ASGI application. `tasks`: routes of the API of tasks. `ready`, `watch`: see `core.probes`."""

    async def list_models(_: Request) -> Response:
        return JSONResponse({"object": "list", "data": [model_object(model) for model in await models.all()]})

    async def one_model(request: Request) -> Response:
        name = request.path_params["name"]
        for model in await models.all():
            if model.name == name:
                return JSONResponse(model_object(model))
        refusal = unknown_model(name)
        return JSONResponse({"error": refusal.error}, refusal.status)

    api = [
        *(Route(path, Endpoint(completions, operation), methods=["POST"]) for operation, path in PATHS.items()),
        Route("/models", list_models),
        Route("/models/{name:path}", one_model),
        *tasks,
    ]
    return Starlette(
        routes=[
            Mount("/v1", routes=api),
            Mount("/api/v1", routes=api),
            *probes(ready, watch),
        ],
        exception_handlers={
            HTTPException: _http_error,
            RequestRefused: _refused,
            DescriptionRefused: _description_refused,
            AgentOSError: _our_error,
        },
    )


_SERVED = [*PATHS.values(), "/models", "/tasks", "/pipelines"]


async def _http_error(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    message = {
        404: f"There is no {request.url.path} here; {', '.join(f'/v1{path}' for path in _SERVED)} are.",
        405: f"{request.method} is not a method of {request.url.path}.",
    }.get(status, "The request could not be served.")
    return JSONResponse(
        {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}}, status
    )


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestRefused)
    return JSONResponse({"error": error.error}, error.status, headers=error.headers)


async def _description_refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, DescriptionRefused)
    return await _refused(request, description_refused(error))


async def _our_error(_: Request, error: Exception) -> Response:
    body = {"message": str(error), "type": "server_error", "param": None, "code": "unavailable"}
    return JSONResponse({"error": body}, 503)
