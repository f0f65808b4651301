"""The way to the gateways: requests that are made again when a connection is lost or a gateway starts anew."""

from __future__ import annotations

import asyncio
import io
import os
import random
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import aiohttp
import msgspec
from yarl import URL

from core.errors import ConfigurationError
from workload.errors import GatewayRefused, GatewayUnavailable

_LOST = (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, TimeoutError, ConnectionError)
# A gateway, or what stands before it, says so where the same request may succeed soon.
_LATER = {429, 502, 503, 504}
# A person has to mend this first, or it is of no use later.
_NOT_LATER = {"model_unavailable", "deadline_unreachable"}
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0
_CONNECT_SECONDS = 10.0
SILENCE_SECONDS = 60.0


class Lost(GatewayUnavailable):
    """One try had no answer. `code`: its name. `at`: the address that is to be left for the next, if any.

    `silent`: the connection stood, but nothing came.
    """

    def __init__(self, why: str, *, code: str = "connection_lost", at: str = "", silent: bool = False) -> None:
        super().__init__(why)
        self.code = code
        self.at = at
        self.silent = silent


class Answer(NamedTuple):
    """A gateway's whole answer, of a status under 400."""

    status: int
    body: bytes

    def json(self) -> dict[str, Any]:
        """The object that it holds. Raises `GatewayUnavailable` where it is none: another program answers there."""
        try:
            return msgspec.json.decode(self.body, type=dict[str, Any])
        except msgspec.MsgspecError:
            raise GatewayUnavailable("what answers there is no gateway: its answer is no JSON object") from None


class Door:
    """`urls`: gateways of one system, separated by commas; when one is lost the next is asked.

    A request is made again for `patience` seconds. As long as nobody has ever answered, each is tried once.
    Raises `ConfigurationError` where an address is none.
    """

    def __init__(self, urls: str, patience: float) -> None:
        self._urls = [_address(each) for each in urls.split(",")]
        self.patience = patience
        self.heard = False
        self._session: aiohttp.ClientSession | None = None

    @property
    def urls(self) -> list[str]:
        """The addresses; the first is asked now."""
        return self._urls

    async def open(self) -> None:
        """Connects to nobody yet."""
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))

    async def close(self) -> None:
        """A second close does nothing."""
        if self._session is not None:
            await self._session.close()

    async def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        silence: float = SILENCE_SECONDS,
    ) -> Answer:
        """`silence`: the longest in seconds. Raises `GatewayRefused`, `GatewayUnavailable`."""
        trying = Trying(self)
        while True:
            try:
                async with self.asked(method, path, body, headers, silence=silence) as response:
                    return Answer(response.status, await response.read())
            except Lost as lost:
                await trying.again(lost)

    @asynccontextmanager
    async def asked(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        silence: float = SILENCE_SECONDS,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """One request, made once. `silence`: the longest in seconds. Raises `GatewayRefused`, `Lost`."""
        assert self._session is not None, "use the client as a context manager"
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=silence)
        at = self._urls[0]
        url = URL(at + path, encoded=True)
        given = {"Content-Type": "application/json", **(headers or {})}
        data = None if body is None else io.BytesIO(body)
        try:
            async with self._session.request(method, url, data=data, headers=given, timeout=timeout) as response:
                self.heard = True
                if response.status >= 400:
                    raise _refusal(response.status, await response.read())
                yield response
        except _LOST as error:
            raise Lost(_reason(error), at=at, silent=isinstance(error, aiohttp.SocketTimeoutError)) from error

    def leave(self, url: str) -> None:
        """To the next address, unless somebody else has turned to it already."""
        if url == self._urls[0]:
            self._urls.append(self._urls.pop(0))


class Trying:
    """How long and how often one thing has been tried."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._since: float | None = None
        self._tries = 0

    def worked(self) -> None:
        """It goes on: what fails next is another failure."""
        self._since = None
        self._tries = 0

    async def again(self, lost: Lost) -> None:
        """Waits before the next try; raises `GatewayUnavailable` once it is enough."""
        door = self._door
        now = time.monotonic()
        if self._since is None:
            self._since = now
        door.leave(lost.at)
        if not door.heard and self._tries + 1 >= len(door.urls):
            raise GatewayUnavailable(
                f"nothing answers at {' or '.join(sorted(door.urls))}: {lost}; `agentos up` starts everything on "
                "this machine, --url or AGENTOS_URL names another address"
            ) from lost
        if now - self._since >= door.patience:
            raise GatewayUnavailable(f"no gateway has served for {door.patience:g} s: {lost}") from lost
        await self.pause()

    async def pause(self) -> None:
        """Waits before the next try, longer each time."""
        longest = min(_FIRST_PAUSE * 2 ** min(self._tries, 10), _LONGEST_PAUSE)
        self._tries += 1
        await asyncio.sleep(longest * random.uniform(0.5, 1))


def _address(written: str) -> str:
    address = written.strip().rstrip("/").removesuffix("/v1")
    if not address.startswith(("http://", "https://")):
        raise ConfigurationError(f"{written!r} is no address of a gateway; http://host:port (--url, AGENTOS_URL)")
    return address


def _reason(error: BaseException) -> str:
    if isinstance(error, aiohttp.ClientConnectorError):
        number = error.os_error.errno
        return os.strerror(number) if number and number > 0 else str(error.os_error)
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return str(error) or type(error).__name__


def _refusal(status: int, body: bytes) -> GatewayRefused | Lost:
    try:
        error = msgspec.json.decode(body, type=dict[str, Any]).get("error")
    except msgspec.MsgspecError:
        error = None
    refusal = GatewayRefused(status, error if isinstance(error, dict) else {})
    if status in _LATER and refusal.code not in _NOT_LATER:
        return Lost(str(refusal), code=refusal.code)
    return refusal
