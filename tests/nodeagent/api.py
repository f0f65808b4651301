"""The API server, as a Node sees it."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Self

import aiohttp
import msgspec

from tests.nodeagent.settings import Settings
from tests.nodeagent.spec import Object

log = logging.getLogger(__name__)

PAUSE_SECONDS = 0.5
ANSWER_SECONDS = 10.0
# The API server ends a watch after so long; one that is silent for longer has died.
WATCH_SECONDS = 30
SILENT_SECONDS = 40.0
MERGE = "application/strategic-merge-patch+json"
# What a request may end with that is worth another try.
UNREACHABLE = (aiohttp.ClientError, TimeoutError, OSError)

# Not there; another one of this name; and, to a Node, no Pod of its own any more.
GONE = (403, 404, 409)


class Refused(Exception):
    """The API server has said no, with this status of HTTP."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text}")
        self.status = status


class Api:
    """Raises `Refused`, or one of UNREACHABLE."""

    def __init__(self, settings: Settings) -> None:
        context = ssl.create_default_context(cafile=settings.ca)
        self._session = aiohttp.ClientSession(
            settings.server,
            headers={"Authorization": f"Bearer {settings.token}"},
            connector=aiohttp.TCPConnector(ssl=context),
            timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS),
            read_bufsize=8 << 20,  # a line of a watch is a whole object
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        await self._session.close()

    async def ask(self, method: str, path: str, body: Object | None = None, kind: str = "application/json") -> Object:
        data = msgspec.json.encode(body) if body is not None else None
        async with self._session.request(method, path, data=data, headers={"Content-Type": kind}) as response:
            text = await response.read()
            if response.status >= 400:
                raise Refused(response.status, text.decode(errors="replace")[:500])
            return msgspec.json.decode(text, type=dict[str, Any])

    async def insist(self, method: str, path: str, body: Object, kind: str = "application/json") -> Object | None:
        """As `ask`, again while the API server is not well. None: what it is about is not there any more."""
        while True:
            try:
                return await self.ask(method, path, body, kind)
            except Refused as error:
                if error.status in GONE:
                    return None
                if error.status < 500 and error.status != 429:
                    raise
            except UNREACHABLE as error:
                log.warning("%s %s: %s", method, path, type(error).__name__)
            await asyncio.sleep(PAUSE_SECONDS)

    async def watch(self, path: str, selector: str) -> AsyncIterator[tuple[str, Object]]:
        """Everything there is as "HAVE", then "LISTED", and then the events. Ends where the watch ends."""
        listed = await self.ask("GET", f"{path}?{selector}")
        for each in listed["items"]:
            yield "HAVE", each
        yield "LISTED", {}
        version = listed["metadata"]["resourceVersion"]
        query = f"{path}?{selector}&watch=true&timeoutSeconds={WATCH_SECONDS}&resourceVersion={version}"
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=ANSWER_SECONDS, sock_read=SILENT_SECONDS)
        async with self._session.get(query, timeout=timeout) as response:
            if response.status >= 400:
                raise Refused(response.status, (await response.text())[:500])
            async for line in response.content:
                event = msgspec.json.decode(line, type=dict[str, Any])
                if event["type"] == "ERROR":  # the version is too old: begin anew
                    return
                yield event["type"], event["object"]
