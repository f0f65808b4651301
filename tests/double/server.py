"""The double's server."""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web

from tests.double.scripts import ANSWER, Step, error_body

WORDS = ("Water", " boils", " at", " 100", " °C", ".")


@dataclass
class Seen:
    """One request as the double saw it.

    `peer`: its client's port. `left` is set when its client closed the connection before the end.
    """

    body: dict[str, Any]
    headers: dict[str, str]
    peer: int
    left: asyncio.Event = field(default_factory=asyncio.Event)
    answered: asyncio.Event = field(default_factory=asyncio.Event)


class Provider:
    """Answers `WORDS` to every chat completion. A word is a token; a prompt's tokens are its words.

    `key`: the only key accepted, if set. `rpm`: requests per window of `window` seconds. `delay` and `pace`: seconds
    before an answer and between its chunks.
    """

    def __init__(
        self, *, key: str = "", rpm: int = 0, window: float = 60.0, delay: float = 0.0, pace: float = 0.0
    ) -> None:
        self.key = key
        self.rpm = rpm
        self.window = window
        self.delay = delay
        self.pace = pace
        self.calls: list[Seen] = []
        self.tokens = 0
        self._arrived = asyncio.Condition()
        self._script: deque[Step] = deque()
        self._times: deque[float] = deque()
        self._runner: web.AppRunner | None = None
        self.url = ""

    def script(self, *steps: Step) -> None:
        """The next requests are treated by these steps, one each; later ones are answered."""
        self._script.extend(steps)

    async def call(self, number: int = 0) -> Seen:
        """Waits for the request of that number, counted from 0."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: len(self.calls) > number)
        return self.calls[number]

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Serves; `url` is the address from then on."""
        app = web.Application(client_max_size=64 << 20)
        app.router.add_post("/v1/chat/completions", self._completions)
        app.router.add_get("/v1/models", self._models)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        self.url = f"http://{host}:{self._runner.addresses[0][1]}"

    async def close(self) -> None:
        """Stops serving; open connections are cut."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def _models(self, request: web.Request) -> web.Response:
        if self._refuses_key(request):
            return _refusal(401, "invalid_api_key", "Incorrect API key provided.", {})
        return web.json_response({"object": "list", "data": [{"id": "test-model", "object": "model"}]})

    def _refuses_key(self, request: web.Request) -> bool:
        return bool(self.key) and request.headers.get("Authorization") != f"Bearer {self.key}"

    async def _completions(self, request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        assert request.transport is not None
        seen = Seen(await request.json(), headers, request.transport.get_extra_info("peername")[1])
        async with self._arrived:
            self.calls.append(seen)
            self._arrived.notify_all()
        try:
            response = await self._treat(request, seen)
        except (asyncio.CancelledError, ConnectionError):
            seen.left.set()
            raise
        seen.answered.set()
        return response

    async def _treat(self, request: web.Request, seen: Seen) -> web.StreamResponse:
        step = self._script.popleft() if self._script else ANSWER
        if self._refuses_key(request):
            key = request.headers.get("Authorization", "").removeprefix("Bearer ")
            return _refusal(401, "invalid_api_key", f"Incorrect API key provided: {key}.", {})
        if wait := self._limit():
            headers = {**self._limit_headers(), "retry-after": str(max(1, round(wait)))}
            return _refusal(429, "rate_limit_exceeded", "Rate limit reached for requests.", headers)
        if step.kind == "refuse":
            return _refusal(step.status, step.code, "The script refuses.", step.headers)
        if step.kind == "html":
            page = "<html><body>It works!</body></html>"
            return web.Response(text=page, content_type="text/html", status=step.status)
        if step.kind == "hang":
            await asyncio.Event().wait()
        await asyncio.sleep(self.delay)
        streamed = step.kind == "stream" or (seen.body.get("stream") is True and step.kind != "plain")
        return await (self._stream(request, seen, step) if streamed else self._plain(request, seen, step))

    def _limit(self) -> float:
        """Seconds until a request is allowed again; 0 if it is allowed now."""
        now = time.monotonic()
        while self._times and self._times[0] <= now - self.window:
            self._times.popleft()
        if self.rpm and len(self._times) >= self.rpm:
            return self._times[0] + self.window - now
        self._times.append(now)
        return 0.0

    def _limit_headers(self) -> dict[str, str]:
        if not self.rpm:
            return {}
        return {
            "x-ratelimit-limit-requests": str(self.rpm),
            "x-ratelimit-remaining-requests": str(self.rpm - len(self._times)),
            "x-ratelimit-reset-requests": f"{self.window / self.rpm:.3f}s",
        }

    def _usage(self, body: dict[str, Any], said: int) -> dict[str, Any]:
        texts = [message["content"] for message in body["messages"] if isinstance(message["content"], str)]
        prompt = sum(len(text.split()) for text in texts)
        self.tokens += prompt + said
        return {
            "prompt_tokens": prompt,
            "completion_tokens": said,
            "total_tokens": prompt + said,
            "prompt_tokens_details": {"cached_tokens": 0},
        }

    async def _plain(self, request: web.Request, seen: Seen, step: Step) -> web.StreamResponse:
        message = {"role": "assistant", "content": "".join(WORDS), "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        answer = {**_head(seen), "object": "chat.completion", "choices": [choice]}
        if step.kind != "no usage":
            answer["usage"] = self._usage(seen.body, len(WORDS))
        if step.kind != "drop":
            return web.json_response(answer, headers=self._limit_headers())
        response = web.StreamResponse(headers={"content-type": "application/json", "content-length": "4096"})
        await response.prepare(request)
        await response.write(json.dumps(answer).encode()[:100])
        return _cut(request, response)

    async def _stream(self, request: web.Request, seen: Seen, step: Step) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream", **self._limit_headers()})
        await response.prepare(request)
        words = WORDS[: len(WORDS) // 2] if step.kind in ("half stream", "drop") else WORDS
        for number, chunk in enumerate(_chunks(seen, words)):
            if number:
                await asyncio.sleep(self.pace)
            await _send(response, chunk)
            if number == 1 and (last := _MISHAPS.get(step.kind)) is not None:
                await response.write(last)
                return response
            if number == 1 and step.kind == "hang in stream":
                await asyncio.Event().wait()
        if step.kind == "drop":
            return _cut(request, response)
        if step.kind != "half stream":
            await self._end(response, seen, step)
        return response

    async def _end(self, response: web.StreamResponse, seen: Seen, step: Step) -> None:
        head = {**_head(seen), "object": "chat.completion.chunk"}
        await _send(response, {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        options = seen.body.get("stream_options") or {}
        if options.get("include_usage") and step.kind != "no usage":
            await _send(response, {**head, "choices": [], "usage": self._usage(seen.body, len(WORDS))})
        if step.kind != "no done":
            await response.write(b"data: [DONE]\n\n")
        if step.kind == "hang after done":
            await asyncio.Event().wait()


_MISHAPS = {
    "error in stream": b'data: {"error": {"message": "Overloaded.", "type": "server_error", "code": null}}\n\n',
    "not JSON in stream": b"data: <html>\n\n",
}


def _head(seen: Seen) -> dict[str, Any]:
    return {"id": "chatcmpl-double", "created": 1_700_000_000, "model": seen.body.get("model")}


def _chunks(seen: Seen, words: Iterable[str]) -> Iterable[dict[str, Any]]:
    head = {**_head(seen), "object": "chat.completion.chunk"}
    for delta in [{"role": "assistant", "content": ""}, *({"content": word} for word in words)]:
        yield {**head, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}]}


async def _send(response: web.StreamResponse, chunk: dict[str, Any]) -> None:
    await response.write(b"data: " + json.dumps(chunk, separators=(",", ":")).encode() + b"\n\n")


def _cut(request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    return response


def _refusal(status: int, code: str | None, message: str, headers: dict[str, str]) -> web.Response:
    return web.json_response(error_body(message, code), status=status, headers=headers)
