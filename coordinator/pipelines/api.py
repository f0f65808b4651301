"""The HTTP API of pipelines: what they are, and their requests."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Callable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from coordinator.graph.description import Description
from coordinator.openai import RequestRefused
from coordinator.pipelines.pipelines import Pipelines
from coordinator.pipelines.template import Template, read_asked, read_pipeline
from coordinator.tasks.entry import Entry
from coordinator.tasks.incoming import body_of, key_of
from coordinator.tasks.looking import Looking, response_of
from coordinator.tasks.news import Newsroom
from coordinator.tasks.refusals import invalid, model_in_use, not_found, unreachable_deadline
from coordinator.tasks.submission import submission_of
from coordinator.tasks.views import DOCUMENT, task_object
from core.errors import ModelInUse, NotFound
from core.outputs import output_text
from policy.slo.pipeline import Pipeline
from store import Store, TaskState

# News may be lost: so often is the store asked about a task that somebody waits for.
LOOK_SECONDS = 1.0
LONGEST_WAIT = 3600.0
_WAIT = re.compile(r"wait\s*=\s*(\d{1,9}(?:\.\d{1,6})?)", re.IGNORECASE)


class PipelineApi:
    """`holds`: whether a task is carried on at this coordinator."""

    def __init__(
        self,
        *,
        pipelines: Pipelines,
        store: Store,
        entry: Entry,
        looking: Looking,
        newsroom: Newsroom,
        holds: Callable[[int], bool],
        max_body_bytes: int,
    ) -> None:
        self._pipelines = pipelines
        self._store = store
        self._entry = entry
        self._looking = looking
        self._newsroom = newsroom
        self._holds = holds
        self._max_body_bytes = max_body_bytes

    def routes(self) -> list[Route]:
        """Under `/v1`."""
        return [
            Route("/pipelines", self._list, methods=["GET"]),
            Route("/pipelines/{name}", self._look, methods=["GET"]),
            Route("/pipelines/{name}", self._put, methods=["PUT"]),
            Route("/pipelines/{name}", self._drop, methods=["DELETE"]),
            Route("/pipelines/{name}/requests", self._request, methods=["POST"]),
        ]

    async def _list(self, _: Request) -> Response:
        pipelines = self._pipelines.registry.pipelines()
        return JSONResponse({"object": "list", "data": [self._object(each) for each in pipelines.values()]})

    async def _look(self, request: Request) -> Response:
        return JSONResponse(self._object((await self._template(request)).pipeline))

    async def _put(self, request: Request) -> Response:
        template = read_pipeline(request.path_params["name"], await body_of(request, self._max_body_bytes))
        try:
            await self._pipelines.registry.put(template)
        except ModelInUse as error:
            raise model_in_use(str(error)) from None
        return JSONResponse(self._object(template.pipeline))

    async def _drop(self, request: Request) -> Response:
        name = request.path_params["name"]
        try:
            await self._pipelines.registry.drop(name)
        except NotFound:
            raise _no_pipeline(name) from None
        return Response(status_code=204)

    async def _request(self, request: Request) -> Response:
        wait, key = _wait_of(request), key_of(request)
        template = await self._template(request)
        body = await body_of(request, self._max_body_bytes)
        description = template.task(read_asked(body))
        # One with a key may have been taken in before: it is dropped as a task, so that the key keeps its meaning.
        if key is None:
            self._must_admit(template.pipeline, description)
        submission = submission_of(description, body)
        taken = await self._entry.take(submission, key)
        if taken.row is not None:
            self._pipelines.came(template.pipeline, refused=False)
        if wait is not None:
            return await self._ended(taken.task_id, wait, template.pipeline)
        if taken.row is not None:
            return response_of(taken.row, task_object(taken.row, description, submission.graph, nodes=True), 202)
        return await self._as_it_is(taken.task_id)

    def _must_admit(self, pipeline: Pipeline, description: Description) -> None:
        assert description.pipeline is not None
        slo = description.pipeline.slo_seconds
        if not self._pipelines.admits(pipeline, slo):
            self._pipelines.came(pipeline, refused=True)
            raise unreachable_deadline(slo)

    async def _ended(self, task_id: int, wait: float, pipeline: Pipeline) -> Response:
        """RFC 7240: the answer, or, after the wait, how far it has come."""
        try:
            async with asyncio.timeout(wait):
                await self._until_ended(task_id)
        except TimeoutError:
            return await self._as_it_is(task_id)
        row, told = await self._looking.task(task_id, nodes=True)
        await self._add_outputs(told["nodes"], pipeline)
        response = response_of(row, told, 200)
        response.headers["preference-applied"] = f"wait={wait:g}"
        return response

    async def _as_it_is(self, task_id: int) -> Response:
        row, told = await self._looking.task(task_id, nodes=True)
        return response_of(row, told, 202)

    async def _until_ended(self, task_id: int) -> None:
        with self._newsroom.watch(task_id) as news:
            while True:
                news.clear()
                if not self._holds(task_id) and (await self._looking.row(task_id)).state is not TaskState.OPEN:
                    return
                try:
                    async with asyncio.timeout(LOOK_SECONDS):
                        await news.wait()
                except TimeoutError:
                    continue

    async def _add_outputs(self, nodes: list[dict[str, Any]], pipeline: Pipeline) -> None:
        """To the last stages, those that no other needs."""
        needed = {name for stage in pipeline.stages for name in stage.after}
        last = [node for node in nodes if node["document"] is not None and node["id"] not in needed]
        numbers = {node["id"]: int(node["document"].removeprefix(DOCUMENT)) for node in last}
        responses = await self._store.responses(list(numbers.values()))
        for node in last:
            node["output"] = output_text(responses.get(numbers[node["id"]], ""))

    async def _template(self, request: Request) -> Template:
        name, registry = request.path_params["name"], self._pipelines.registry
        if registry.template(name) is None:
            await registry.look()
        template = registry.template(name)
        if template is None:
            raise _no_pipeline(name)
        return template

    def _object(self, pipeline: Pipeline) -> dict[str, Any]:
        described: dict[str, Any] = msgspec.to_builtins(pipeline, str_keys=True)
        policy = {"policy": pipeline.policy}
        return {"object": "pipeline", **described, **policy, "figures": policy | self._pipelines.told(pipeline)}


def _no_pipeline(name: str) -> RequestRefused:
    return not_found(f"pipeline {name[:100]!r}; PUT /v1/pipelines/{{name}} makes one")


def _wait_of(request: Request) -> float | None:
    """Seconds of `Prefer: wait=…`; None without it. Other preferences are none of ours (RFC 7240, section 2)."""
    for preference in ",".join(request.headers.getlist("prefer")).split(","):
        if preference.partition("=")[0].strip().lower() != "wait":
            continue
        found = _WAIT.fullmatch(preference.strip())
        if found is None or not math.isfinite(seconds := float(found[1])) or seconds > LONGEST_WAIT:
            raise invalid(f"'Prefer: wait=' takes seconds, 0 to {LONGEST_WAIT:g}.", "Prefer")
        return seconds
    return None
