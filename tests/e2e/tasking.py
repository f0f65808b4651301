"""Task graphs as an HTTP client of its own kind asks for them: no library of ours between the test and the API."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import aiohttp

from tests.fixtures.fleet import Daemon, until

ENDED = ("completed", "failed", "cancelled", "expired")


class Reply(NamedTuple):
    """What the API answered."""

    status: int
    body: Any
    headers: dict[str, str]


class Tasks:
    """The API of one gateway. Use as a context manager."""

    def __init__(self, gateway: Daemon) -> None:
        self._url = gateway.url + "/v1"

    async def __aenter__(self) -> Tasks:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(60))
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._session.close()

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        """One request."""
        text = body if isinstance(body, str) else json.dumps(body)
        data = None if body is None else io.BytesIO(text.encode())
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self._session.request(method, self._url + path, data=data, headers=named) as response:
            told = await response.text()
            kind = response.headers.get("content-type", "")
            return Reply(response.status, json.loads(told) if "json" in kind else told, dict(response.headers))

    async def submit(self, description: Any, **headers: str) -> str:
        """Submits a graph that is right; its id."""
        reply = await self.ask("POST", "/tasks", description, **headers)
        assert reply.status in (200, 202), reply
        return str(reply.body["id"])

    async def read(self, task: str) -> dict[str, Any]:
        """The task."""
        reply = await self.ask("GET", f"/tasks/{task}")
        assert reply.status == 200, reply
        return dict(reply.body)

    async def ended(self, task: str, *, seconds: float = 60.0) -> dict[str, Any]:
        """The task, once it has ended."""

        async def end() -> dict[str, Any] | None:
            told = await self.read(task)
            return told if told["status"] in ENDED else None

        found: dict[str, Any] = await until(end, f"{task} has ended", seconds=seconds)
        return found

    async def output(self, task: str, node: str) -> str:
        """The text of a node that has completed."""
        reply = await self.ask("GET", f"/tasks/{task}/nodes/{node}")
        assert reply.status == 200, reply
        return str(reply.body["output"])

    async def events(self, task: str, after: str = "") -> AsyncIterator[tuple[str, str, dict[str, Any]]]:
        """(id, name, data) of the task's events, until it has ended."""
        headers = {"last-event-id": after} if after else {}
        async with self._session.get(f"{self._url}/tasks/{task}/events", headers=headers) as response:
            assert response.status == 200, await response.text()
            event: dict[str, str] = {}
            async for line in response.content:
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name:
                    event[name] = value
                elif "data" in event:
                    yield event["id"], event["event"], json.loads(event["data"])
                    event = {}


def node(name: str, model: str, text: str = "Go on.", **more: Any) -> dict[str, Any]:
    """A node of a description, asking `text`."""
    extra = more.pop("body", {})
    return {"id": name, "model": model, "body": {"messages": [{"role": "user", "content": text}], **extra}, **more}


def saying(text: str, delay: float = 0.0) -> dict[str, Any]:
    """A part of a body that tells a mock worker what to answer, and when."""
    return {"agentos_mock": {"text": text, "delay_seconds": delay}}
