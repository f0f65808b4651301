"""The double's server."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web

from tests.double.answers import prompt_tokens, refusal, tokens_said
from tests.double.book import Book, end, to_json
from tests.double.metering import Account, Enforcement
from tests.double.scripts import ANSWER, FAULT, OVERLOADED, Step
from tests.double.speaking import plain, stream
from tests.double.texts import wrong_texts

# What a request must have, by path.
FIELDS = {"/v1/chat/completions": "messages", "/v1/completions": "prompt", "/v1/embeddings": "input"}


@dataclass
class Seen:
    """One request as the double saw it.

    `path`: of its address. `peer`: its client's port. `left` is set when its client closed the connection before the
    end.
    """

    body: dict[str, Any]
    headers: dict[str, str]
    path: str
    peer: int
    left: asyncio.Event = field(default_factory=asyncio.Event)
    answered: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def key(self) -> str:
        """Whose call it is."""
        return self.headers.get("authorization", "").removeprefix("Bearer ")


class Provider:
    """Answers `WORDS` to a chat or a prompt, or what it is told to say, and vectors to texts to embed. A word is a
    token; a prompt's tokens are its words.

    `key`: the only key accepted, if set. `rpm` and `tpm`: requests and tokens of each key in `window` seconds,
    enforced by a `bucket` or in windows of the clock; a call's tokens are reserved when it arrives, prompt and
    `max_tokens`, and are not given back unless it `refunds`. `delay` and `pace`: seconds before an answer and between
    its chunks. `bears`: so many calls at once are answered in that time; more make all slower, twice as many are
    refused as too much. `fails`: the part of calls that end in status 500, drawn by `seed`. `forgetful`: `calls` are
    not kept, for millions of them; `booked`: what became of each is kept in `book` all the same.
    """

    def __init__(
        self,
        *,
        key: str = "",
        rpm: float = 0,
        tpm: float = 0,
        window: float = 60.0,
        enforcement: Enforcement = "bucket",
        refunds: bool = False,
        delay: float = 0.0,
        pace: float = 0.0,
        bears: int = 0,
        fails: float = 0.0,
        seed: int = 0,
        forgetful: bool = False,
        booked: bool = False,
    ) -> None:
        self.key = key
        self.rpm = rpm
        self.tpm = tpm
        self.window = window
        self.enforcement: Enforcement = enforcement
        self.refunds = refunds
        self.delay = delay
        self.pace = pace
        self.bears = bears
        self.fails = fails
        self.forgetful = forgetful
        self.booked = booked
        self.book = Book()
        self._random = random.Random(seed)
        self.calls: list[Seen] = []
        self.tokens = 0
        self.running = 0
        self.accounts: dict[str, Account] = {}
        self._arrived = asyncio.Condition()
        self._script: deque[Step] = deque()
        self._withheld: Any = None
        self._unheld = math.inf
        self._held: deque[asyncio.Event] = deque()
        self._runner: web.AppRunner | None = None
        self.url = ""

    def script(self, *steps: Step) -> None:
        """The next requests are treated by these steps, one each; later ones are answered."""
        self._script.extend(steps)

    def withhold(self, messages: Any) -> None:
        """Requests with these messages are never answered."""
        self._withheld = messages

    def hold(self, after: int) -> None:
        """So many more requests are answered; the others wait for `release`."""
        self._unheld = after

    def release(self, count: int | None = None) -> None:
        """All that wait are answered, and all that come; or so many of those that wait, the oldest first."""
        if count is None:
            self._unheld = math.inf
            count = len(self._held)
        for _ in range(count):
            self._held.popleft().set()

    async def call(self, number: int = 0) -> Seen:
        """Waits for the request of that number, counted from 0."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: len(self.calls) > number)
        return self.calls[number]

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Serves; `url` is the address from then on."""
        app = web.Application(client_max_size=64 << 20)
        for path in FIELDS:
            app.router.add_post(path, self._completions)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/accounts", self._tell_accounts)
        app.router.add_get("/book", self._tell_book)
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
            return refusal(401, "invalid_api_key", "Incorrect API key provided.", {})
        return web.json_response({"object": "list", "data": [{"id": "test-model", "object": "model"}]})

    async def _tell_accounts(self, _request: web.Request) -> web.Response:
        """For whoever started the double as a process: what became of the calls, by key."""
        told = {
            key: {"admitted": each.admitted, "refused": each.refused, "tokens": each.tokens}
            for key, each in self.accounts.items()
        }
        return web.json_response(told)

    async def _tell_book(self, _request: web.Request) -> web.Response:
        return web.json_response(body=to_json(self.book))

    def account(self, key: str = "") -> Account:
        """That of a key, with the limits that are set when it is first asked for."""
        if key not in self.accounts:
            self.accounts[key] = Account.limited(self.rpm, self.tpm, self.window, self.enforcement)
        return self.accounts[key]

    def _refuses_key(self, request: web.Request) -> bool:
        return bool(self.key) and request.headers.get("Authorization") != f"Bearer {self.key}"

    async def _completions(self, request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        assert request.transport is not None
        peer = request.transport.get_extra_info("peername")[1]
        seen = Seen(await request.json(), headers, request.path, peer)
        if not self.forgetful:
            async with self._arrived:
                self.calls.append(seen)
                self._arrived.notify_all()
        if not self.booked:
            return await self._serve(request, seen)
        entry = self.book.begin(headers.get("x-client-request-id", ""), seen.key, time.time())
        try:
            response = await self._serve(request, seen)
            await response.prepare(request)
            await response.write_eof()
        except (asyncio.CancelledError, ConnectionError):
            end(entry, "cut off", time.time())
            raise
        end(entry, "answered" if response.status == 200 else "refused", time.time())
        return response

    async def _serve(self, request: web.Request, seen: Seen) -> web.StreamResponse:
        self.running += 1
        try:
            response = await self._treat(request, seen)
        except (asyncio.CancelledError, ConnectionError):
            seen.left.set()
            raise
        finally:
            self.running -= 1
        seen.answered.set()
        return response

    async def _treat(self, request: web.Request, seen: Seen) -> web.StreamResponse:
        if self._withheld is not None and seen.body.get("messages") == self._withheld:
            await asyncio.Event().wait()
        self._unheld -= 1
        if self._unheld < 0:
            self._held.append(released := asyncio.Event())
            await released.wait()
        step = self._script.popleft() if self._script else self._usual()
        if self._refuses_key(request):
            return refusal(401, "invalid_api_key", f"Incorrect API key provided: {seen.key}.", {})
        if problem := _wrong(seen):
            return refusal(400, "invalid_request_error", problem, self._limits(seen))
        account, reserved = self.account(seen.key), prompt_tokens(seen.body) + answer_tokens(seen.body)
        if self.tpm and reserved > self.tpm:
            words = f"Request too large on tokens per min (TPM): Limit {self.tpm}, Requested {reserved}."
            return refusal(429, "rate_limit_exceeded", words, self._limits(seen))
        if wait := account.ask(time.monotonic(), reserved):
            headers = {"retry-after": str(math.ceil(wait)), "retry-after-ms": str(math.ceil(wait * 1000))}
            return refusal(429, "rate_limit_exceeded", "Rate limit reached.", headers | self._limits(seen))
        if self.bears and self.running > 2 * self.bears:
            step = OVERLOADED
        if step.kind == "refuse":
            headers = self._limits(seen) | step.headers
            return refusal(step.status, step.code, "The script refuses.", headers)
        if step.kind == "html":
            page = "<html><body>It works!</body></html>"
            return web.Response(text=page, content_type="text/html", status=step.status)
        if step.kind == "hang":
            await asyncio.Event().wait()
        await asyncio.sleep(self._latency())
        if self.refunds:
            account.give_back(time.monotonic(), answer_tokens(seen.body) - tokens_said(seen.body))
        asked = seen.body.get("stream") is True and seen.path != "/v1/embeddings"
        streamed = step.kind == "stream" or (asked and step.kind != "plain")
        if streamed:
            return await stream(request, seen.body, step, self._limits(seen), self._usage, self.pace)
        return await plain(request, seen.body, step, self._limits(seen), self._usage)

    def _usual(self) -> Step:
        return FAULT if self.fails and self._random.random() < self.fails else ANSWER

    def _latency(self) -> float:
        crowd = self.running / self.bears if self.bears else 1.0
        return self.delay * max(1.0, crowd**2)

    def _limits(self, seen: Seen) -> dict[str, str]:
        return self.account(seen.key).headers(time.monotonic())

    def _usage(self, body: dict[str, Any]) -> dict[str, Any]:
        prompt, said = prompt_tokens(body), tokens_said(body)
        self.tokens += prompt + said
        if "messages" not in body and "prompt" not in body:
            return {"prompt_tokens": prompt, "total_tokens": prompt}
        return {
            "prompt_tokens": prompt,
            "completion_tokens": said,
            "total_tokens": prompt + said,
            "prompt_tokens_details": {"cached_tokens": 0},
        }


def answer_tokens(body: dict[str, Any]) -> int:
    """What is reserved for an answer."""
    return int(body.get("max_tokens") or tokens_said(body))


def _wrong(seen: Seen) -> str | None:
    """What is wrong with a request."""
    if FIELDS[seen.path] not in seen.body:
        return f"Missing required parameter: '{FIELDS[seen.path]}'."
    return None if "messages" in seen.body else wrong_texts(seen.body)
