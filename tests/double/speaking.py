"""How the double gives its answers: whole, in pieces, or with a mishap."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from aiohttp import web

from tests.double.answers import MISHAPS, chunks, cut, last_chunk, send, whole
from tests.double.scripts import Step

Body: TypeAlias = dict[str, Any]
# Counts what was said to a request, in words, and gives its `usage`.
Count: TypeAlias = Callable[[Body], dict[str, Any]]


async def plain(
    request: web.Request, body: Body, step: Step, headers: Mapping[str, str], count: Count
) -> web.StreamResponse:
    """A whole answer."""
    answer = whole(body)
    if step.kind != "no usage":
        answer["usage"] = count(body)
    if step.kind != "drop":
        return web.json_response(answer, headers=headers)
    response = web.StreamResponse(headers={"content-type": "application/json", "content-length": "4096"})
    await response.prepare(request)
    await response.write(json.dumps(answer).encode()[:100])
    return cut(request, response)


async def stream(
    request: web.Request, body: Body, step: Step, headers: Mapping[str, str], count: Count, pace: float
) -> web.StreamResponse:
    """Events, `pace` seconds apart."""
    response = web.StreamResponse(headers={"content-type": "text/event-stream", **headers})
    await response.prepare(request)
    for number, chunk in enumerate(chunks(body, half=step.kind in ("half stream", "drop"))):
        if number:
            await asyncio.sleep(pace)
        await send(response, chunk)
        if number == 1 and (last := MISHAPS.get(step.kind)) is not None:
            await response.write(last)
            return response
        if number == 1 and step.kind == "hang in stream":
            await asyncio.Event().wait()
    if step.kind == "drop":
        return cut(request, response)
    if step.kind != "half stream":
        await _end(response, body, step, count)
    return response


async def _end(response: web.StreamResponse, body: Body, step: Step, count: Count) -> None:
    last = last_chunk(body)
    await send(response, last)
    options = body.get("stream_options") or {}
    if options.get("include_usage") and step.kind != "no usage":
        await send(response, {**last, "choices": [], "usage": count(body)})
    if step.kind != "no done":
        await response.write(b"data: [DONE]\n\n")
    if step.kind == "hang after done":
        await asyncio.Event().wait()
