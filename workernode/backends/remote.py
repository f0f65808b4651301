"""The remote backend: an OpenAI-compatible API over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

import aiohttp
import msgspec
from aiohttp.abc import AbstractStreamWriter

from bus.messages import NodeType
from bus.operations import PATHS, operation_of
from core.errors import ConfigurationError
from workernode.backends.base import Answer, Call, Progress, Sink
from workernode.backends.joint import JointCalls
from workernode.backends.relay import StreamRelay, error_of
from workernode.billing import address_of, provider_of
from workernode.classify import Loss, lost, refused
from workernode.errors import BackendUnavailable, CallFailed
from workernode.resources import Capacity

CONNECT_SECONDS = 10.0
CHECK_SECONDS = 10.0
# Servers close idle connections, uvicorn after 5 s; a request sent at that very moment would be lost.
KEEP_ALIVE_SECONDS = 4.0
# How long the end of a response may take after the end of its answer, to keep the connection.
DRAIN_SECONDS = 1.0

_encode = msgspec.json.Encoder().encode


# Headers that describe a client's own connection and body, or its credentials with us.
_OWN_HEADERS = re.compile(
    r"host|connection|keep-alive|te|trailer|upgrade|expect|cookie|(transfer|accept|content)-.*|(proxy-)?authorization"
)


def _may_pass(name: str, value: str) -> bool:
    well_formed = re.fullmatch(r"[\w!#$%&'*+.^`|~-]+", name, re.ASCII) and re.fullmatch(r"[\t\x20-\x7e]*", value)
    return well_formed is not None and not _OWN_HEADERS.fullmatch(name.lower())


def base_address(url: str) -> str:
    """API_URL without a trailing /v1: with and without both mean the same. Raises `ConfigurationError`."""
    base = re.sub(r"(/v1)?/*$", "", url.strip().rstrip("/"))
    if not re.match(r"https?://[^/?#\s]+[^?#\s]*$", base):
        raise ConfigurationError("API_URL: expected an address as https://api.openai.com, with or without /v1")
    return base


class RemoteBackend:
    """Forwards calls as they are; see `upstream_body` for the exceptions.

    `idle_timeout` bounds the silence within a stream, in seconds. A plain call is silent until it is done: only
    `call_timeout` bounds it.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        slots: int,
        idle_timeout: float,
        call_timeout: float,
        node_type: NodeType = "remote",
    ) -> None:
        self.node_type = node_type
        self.slots = slots
        self.joint = JointCalls(self.call)
        self._base = base_address(url)
        self._address = address_of(self._base)
        self._key = key.strip()  # keys read from files end in a newline
        self._plain = aiohttp.ClientTimeout(total=call_timeout, sock_connect=CONNECT_SECONDS)
        self._stream = aiohttp.ClientTimeout(total=call_timeout, sock_connect=CONNECT_SECONDS, sock_read=idle_timeout)
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Opens the pool of connections; nothing is sent."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                # Calls are bounded by the slots, and a check must not wait for one of them.
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_SECONDS),
                cookie_jar=aiohttp.DummyCookieJar(),
            )

    async def close(self) -> None:
        """Closes the pool; calls under way fail."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def check(self) -> None:
        """Asks for the list of models: it costs nothing. Any answer but a refusal of the key will do."""
        try:
            async with self._opened().get(
                f"{self._base}/v1/models",
                headers=self._headers({}),
                timeout=aiohttp.ClientTimeout(total=CHECK_SECONDS),
                allow_redirects=False,
            ) as response:
                status = response.status
        except (aiohttp.ClientError, TimeoutError) as error:
            raise BackendUnavailable(f"the upstream does not answer: {type(error).__name__}") from error
        if status in (401, 403):
            verdict = refused(status, None, {}, now=time.time())
            raise BackendUnavailable(f"the upstream refuses API_KEY: status {status}", verdict.fault)

    def capacity(self) -> Capacity:
        return Capacity(self.slots)

    async def call(self, call: Call, sink: Sink | None) -> Answer:
        progress = call.progress
        relay = StreamRelay(call.body, sink if call.stream else None, progress=progress, secret=self._key)
        progress.usage = relay.partial_usage
        progress.provider = partial(provider_of, self._address)
        try:
            async with self._opened().post(
                f"{self._base}/v1{PATHS[operation_of(call.body)]}",
                data=_Body(_encode(upstream_body(call)), progress),
                headers=self._headers(call.headers),
                timeout=self._stream if call.stream else self._plain,
                allow_redirects=False,
            ) as response:
                progress.heard(response.headers)
                progress.provider = lambda: provider_of(
                    self._address, response.status, response.headers.get("x-request-id"), relay.head
                )
                return await self._answer(response, relay)
        except (aiohttp.ClientError, TimeoutError) as error:
            kind = loss_of(error)
            reached = kind is not Loss.UNREACHABLE
            raise CallFailed(lost(kind), reached_provider=reached, usage=relay.partial_usage()) from error

    async def _answer(self, response: aiohttp.ClientResponse, relay: StreamRelay) -> Answer:
        if response.status >= 300:
            error = error_of(await response.read())
            raise CallFailed(refused(response.status, error, response.headers, now=time.time(), secret=self._key))
        if response.content_type != "text/event-stream":
            return relay.plain(await response.read())
        async for piece in response.content.iter_any():
            relay.feed(piece)
            if relay.done:
                await _drain(response)
                break
        return relay.close()

    def _headers(self, forwarded: Mapping[str, str]) -> dict[str, str]:
        headers = {name.lower(): value for name, value in forwarded.items() if _may_pass(name, value)}
        headers["content-type"] = "application/json"
        if self._key:
            headers["authorization"] = f"Bearer {self._key}"
        return headers

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise BackendUnavailable("the backend is not started")
        return self._session


class _Body(aiohttp.BytesPayload):
    """A request's body that knows when it leaves: a connection is there by then. A trace of aiohttp's costs more."""

    def __init__(self, body: bytes, progress: Progress) -> None:
        super().__init__(body)
        self._progress = progress

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        self._progress.connected_at = time.time()
        await super().write_with_length(writer, content_length)


async def _drain(response: aiohttp.ClientResponse) -> None:
    """Reads to the end, so that the connection is kept. The answer is there: it does not suffer if that fails."""
    with contextlib.suppress(aiohttp.ClientError, TimeoutError):
        async with asyncio.timeout(DRAIN_SECONDS):
            await response.read()


def upstream_body(call: Call) -> dict[str, Any]:
    """The body to send: `stream` as the message says, and a stream's usage asked for. All else stays."""
    if not call.stream:
        kept = {key: value for key, value in call.body.items() if key != "stream_options"}
        return kept | {"stream": False} if "stream" in kept else kept
    options = call.body.get("stream_options")
    asked = {**options, "include_usage": True} if isinstance(options, dict) else {"include_usage": True}
    return {**call.body, "stream": True, "stream_options": asked}


def loss_of(error: aiohttp.ClientError | TimeoutError) -> Loss:
    """What an error of the HTTP client means."""
    if isinstance(error, (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)):
        return Loss.UNREACHABLE
    if isinstance(error, aiohttp.SocketTimeoutError):
        return Loss.SILENCE
    if isinstance(error, TimeoutError):
        return Loss.CALL_TIME
    # What answers there does not speak HTTP.
    return Loss.NOT_AN_ANSWER if isinstance(error, aiohttp.ClientResponseError) else Loss.CONNECTION
