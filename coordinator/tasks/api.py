"""The HTTP API of tasks: reads requests, asks the store, tells the dispatcher."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from coordinator.graph.description import Description, decode, encode, revise
from coordinator.models import Models
from coordinator.tasks import refusals
from coordinator.tasks.apart import apart
from coordinator.tasks.entry import Entry
from coordinator.tasks.events import events
from coordinator.tasks.incoming import body_of, count_of, key_of, number_of, state_of
from coordinator.tasks.looking import Looking, response_of
from coordinator.tasks.news import Newsroom
from coordinator.tasks.prices import Prices
from coordinator.tasks.stopping import Stopping
from coordinator.tasks.submission import read_submission
from coordinator.tasks.views import TASK, etag, node_object, task_object
from core.errors import NotFound, StaleEpoch, TaskClosed
from core.outputs import output_text
from store import Store

LARGEST_PAGE = 100
EVENTS = {"cache-control": "no-cache", "x-accel-buffering": "no"}


class TaskApi:
    """Whatever a request has wrong is refused by `RequestRefused` or `DescriptionRefused`."""

    def __init__(
        self,
        *,
        store: Store,
        models: Models,
        entry: Entry,
        looking: Looking,
        newsroom: Newsroom,
        stopping: Stopping,
        prices: Prices,
        max_body_bytes: int,
        max_nodes: int,
    ) -> None:
        self._store = store
        self._models = models
        self._entry = entry
        self._looking = looking
        self._newsroom = newsroom
        self._stopping = stopping
        self._prices = prices
        self._max_body_bytes = max_body_bytes
        self._max_nodes = max_nodes

    def routes(self) -> list[Route]:
        """Under `/v1`."""
        return [
            Route("/tasks", self._create, methods=["POST"]),
            Route("/tasks", self._list, methods=["GET"]),
            Route("/tasks/{task}", self._look, methods=["GET"]),
            Route("/tasks/{task}", self._revise, methods=["PATCH"]),
            Route("/tasks/{task}", self._cancel, methods=["DELETE"]),
            Route("/tasks/{task}/events", self._events, methods=["GET"]),
            Route("/tasks/{task}/nodes/{node}", self._node, methods=["GET"]),
        ]

    async def _create(self, request: Request) -> Response:
        body = await body_of(request, self._max_body_bytes)
        key = key_of(request)
        read = await apart(len(body), lambda: read_submission(body, self._max_nodes))
        await self._check(read.description)
        taken = await self._entry.take(read, key)
        if taken.row is None:
            return await self._answer(taken.task_id, 200, nodes=True)
        return response_of(taken.row, task_object(taken.row, read.description, read.graph, nodes=True), 202)

    async def _list(self, request: Request) -> Response:
        query = request.query_params
        limit = count_of(request, "limit", 20, LARGEST_PAGE)
        before = number_of(query["after"], TASK) if "after" in query else None
        rows = await self._store.tasks(query.get("user"), state_of(request), before, limit + 1)
        data = [task_object(row, decode(row.description), None, nodes=False) for row in rows[:limit]]
        last = data[-1]["id"] if data else None
        return JSONResponse({"object": "list", "data": data, "has_more": len(rows) > limit, "last_id": last})

    async def _look(self, request: Request) -> Response:
        nodes = request.query_params.get("nodes", "true") != "false"
        return await self._answer(_task_of(request), 200, nodes=nodes)

    async def _node(self, request: Request) -> Response:
        row = await self._looking.row(_task_of(request))
        graph = await self._looking.graph(row)
        node_id = request.path_params["node"]
        view = next((node for node in graph.nodes() if node.id == node_id), None)
        if view is None:
            raise refusals.not_found(f"node {node_id[:100]!r} in this task")
        told = node_object(view)
        if view.document is not None:
            response = (await self._store.responses([view.document])).get(view.document, "")
            told |= {"output": output_text(response), "response": _json(response)}
        return JSONResponse(told)

    async def _revise(self, request: Request) -> Response:
        task_id = _task_of(request)
        body = await body_of(request, self._max_body_bytes)
        seen = request.headers.get("if-match", "").strip('"')
        while True:
            row = await self._looking.row(task_id)
            if seen and seen != etag(row):
                raise refusals.epoch_stale(etag(row))
            standing, description = await self._revised(row.description, body)
            await self._check(description, known=standing)
            if description == standing:
                break
            try:
                await self._store.revise(task_id, row.epoch, encode(description))
            except StaleEpoch:
                continue  # somebody else was first: on top of that, unless the client says otherwise
            except TaskClosed as error:
                raise refusals.task_closed(str(error)) from None
            self._newsroom.tell(changed=[task_id])
            break
        return await self._answer(task_id, 200, nodes=True)

    async def _revised(self, text: str, body: bytes) -> tuple[Description, Description]:
        def work() -> tuple[Description, Description]:
            standing = decode(text)
            return standing, revise(standing, body, max_nodes=self._max_nodes)

        return await apart(len(text) + len(body), work)

    async def _cancel(self, request: Request) -> Response:
        task_id = _task_of(request)
        try:
            self._stopping.stop(await self._store.cancel(task_id))
        except NotFound:
            raise refusals.not_found(f"task {TASK}{task_id}") from None
        self._newsroom.tell(changed=[task_id])
        return await self._answer(task_id, 200, nodes=True)

    async def _events(self, request: Request) -> Response:
        row = await self._looking.row(_task_of(request))
        stream = events(self._store, self._newsroom, row.task_id, request.headers.get("last-event-id", ""))
        # The first part before the headers: a cursor that is wrong is refused with a status.
        try:
            first = await anext(stream, b"")
        except NotFound:
            raise refusals.bad_cursor() from None
        return StreamingResponse(_with(first, stream), media_type="text/event-stream", headers=EVENTS)

    async def _check(self, description: Description, known: Description | None = None) -> None:
        """Refuses models that nobody has served, and a budget in money for a model without a price."""
        seen = {node.model for node in known.nodes} if known is not None else set()
        priced = description.budget is not None and description.budget.money is not None
        for number, node in enumerate(description.nodes):
            if node.model in seen:
                continue
            seen.add(node.model)
            if not await self._models.knows(node.model):
                raise refusals.unknown_model(node.model, f"/nodes/{number}/model")
            if priced and node.model not in self._prices:
                raise refusals.no_price(node.model, f"/nodes/{number}/model")

    async def _answer(self, task_id: int, status: int, *, nodes: bool) -> Response:
        row, told = await self._looking.task(task_id, nodes=nodes)
        return response_of(row, told, status)


def _task_of(request: Request) -> int:
    return number_of(request.path_params["task"], TASK)


def _json(response: str) -> Any:
    try:
        return msgspec.json.decode(response)
    except msgspec.DecodeError:
        return response


async def _with(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for part in rest:
        yield part
