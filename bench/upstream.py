"""An OpenAI-compatible upstream that answers at once: plain, or in chunks. The answer holds the request's text."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from starlette.types import Receive, Scope, Send

from bench.stage import HOST
from bench.talk import configuration, say
from core import http
from core.run import Stop, run

JSON = [(b"content-type", b"application/json")]
EVENTS = [(b"content-type", b"text/event-stream")]
USAGE = {"prompt_tokens": 10, "completion_tokens": 10, "total_tokens": 20}
HEAD = {"id": "chatcmpl-bench", "created": 1, "model": "bench"}

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class Upstream:
    """Streams `chunks` chunks."""

    def __init__(self, chunks: int) -> None:
        self._chunks = chunks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry; the path does not matter."""
        body = b""
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        request: dict[str, Any] = _decode(body) if body else {"messages": [{"content": ""}]}
        text = str(request["messages"][-1]["content"])
        if request.get("stream"):
            await self._stream(send, text, request)
        else:
            await _plain(send, text)

    async def _stream(self, send: Send, text: str, request: dict[str, Any]) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": EVENTS})
        for number in range(self._chunks):
            delta = {"content": f"{number} "} if number else {"role": "assistant", "content": text + " "}
            await send(_event([{"index": 0, "delta": delta, "finish_reason": None}]))
        await send(_event([{"index": 0, "delta": {}, "finish_reason": "stop"}]))
        if (request.get("stream_options") or {}).get("include_usage"):
            await send(_event([], usage=USAGE))
        await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})


async def _plain(send: Send, text: str) -> None:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    body = _encode({**HEAD, "object": "chat.completion", "choices": [choice], "usage": USAGE})
    headers = [*JSON, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _event(choices: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    chunk = _encode({**HEAD, "object": "chat.completion.chunk", "choices": choices, **more})
    return {"type": "http.response.body", "body": b"data: %b\n\n" % chunk, "more_body": True}


async def serve(stop: Stop) -> None:
    """Serves on any free port, which it tells, until a signal."""
    with http.listen(HOST, 0) as listener:
        async with http.serving(Upstream(configuration()["chunks"]), listener, grace=1):
            # A turn later the server listens.
            await asyncio.sleep(0)
            say(port=listener.getsockname()[1])
            await stop.asked.wait()


if __name__ == "__main__":
    raise SystemExit(run(serve))
