"""A client of task graphs, as small as the idea.

async with Client("http://127.0.0.1:8081") as client:
    task = await client.submit(graph)
    result = await task.result()
    print(result["sum"])
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Any, NamedTuple, Self
from urllib.parse import quote, urlencode

import msgspec

from core.outputs import output_text
from workload.door import Door, Lost, Trying
from workload.errors import GatewayRefused, TaskFailed
from workload.events import Event, Tally
from workload.graph import Graph, description_of
from workload.pipelines import PipelineCalls
from workload.progress import Bar
from workload.settings import DEFAULT_URL
from workload.sse import Parser

ENDED = frozenset({"completed", "failed", "cancelled", "expired"})
# Gateways say something each 15 s.
SILENCE_SECONDS = 45.0
# How often the events of a task that has ended are asked for, where something between here and there cuts them off.
LAST_TRIES = 5
# Outputs that are fetched at once.
AT_ONCE = 16

Hear = Callable[[Event], None]


class Document(NamedTuple):
    """Data that the system holds. As text it is the reference to its content."""

    id: str

    def __str__(self) -> str:
        return f"${{{{ document:{self.id.removeprefix('doc_')} }}}}"


class Client(PipelineCalls):
    """`urls`: one gateway, or several of one system, separated by commas.

    A lost connection is no failure: requests are made again for `patience` seconds. All methods raise
    `GatewayUnavailable` after that, and `GatewayRefused` where the gateway says no. `door`: for other requests.
    """

    def __init__(self, urls: str = DEFAULT_URL, *, patience: float = 30.0) -> None:
        self.door = Door(urls, patience)

    async def __aenter__(self) -> Self:
        await self.door.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.door.close()

    async def submit(self, graph: Graph | Mapping[str, Any], *, key: str | None = None) -> Task:
        """The task is durable when this returns. `key`: the same key again is the same task; else one of its own."""
        body = msgspec.json.encode(description_of(graph))
        answer = await self.door.ask("POST", "/v1/tasks", body, {"Idempotency-Key": key or uuid.uuid4().hex})
        return Task(self.door, answer.json()["id"])

    def task(self, id: str) -> Task:
        """A task that was submitted before. Asks nobody."""
        return Task(self.door, id)

    async def tasks(self, *, user: str = "", status: str = "", limit: int = 20) -> list[dict[str, Any]]:
        """Task objects without their nodes, the newest first."""
        asked = {"user": user, "status": status, "limit": min(limit, 100)}
        found: list[dict[str, Any]] = []
        while True:
            page = (await self.door.ask("GET", "/v1/tasks?" + _query(asked))).json()
            found += page["data"]
            if len(found) >= limit or not page["has_more"]:
                return found[:limit]
            asked["after"] = page["last_id"]

    async def models(self) -> dict[str, str]:
        """Models that are known: name → what serves it, as `agentos-mock`."""
        answer = await self.door.ask("GET", "/v1/models")
        return {each["id"]: each["owned_by"] for each in answer.json()["data"]}

    async def upload(self, content: str) -> Document:
        """Keeps data of any size for bodies to refer to. After a lost connection a copy that nobody uses may stay."""
        answer = await self.door.ask("POST", "/v1/documents", content.encode())
        return Document(answer.json()["id"])


class Task:
    """One task, wherever it runs."""

    def __init__(self, door: Door, id: str) -> None:
        self._door = door
        self.id = id
        self._path = f"/v1/tasks/{quote(id, safe='')}"

    async def look(self, *, nodes: bool = True) -> dict[str, Any]:
        """The task object as it is now, `nodes`: with its nodes."""
        return (await self._door.ask("GET", self._path + ("" if nodes else "?nodes=false"))).json()

    async def node(self, id: str) -> dict[str, Any]:
        """A node's object with `output`, its text, and `response`, the whole."""
        return (await self._door.ask("GET", f"{self._path}/nodes/{quote(id, safe='')}")).json()

    async def add(self, graph: Graph | None = None, *, close: bool = False) -> dict[str, Any]:
        """Adds nodes to a task that goes on; the same again change nothing. `close`: it ends when its nodes have."""
        nodes = graph.nodes if graph is not None else []
        patch = {"nodes": nodes} | ({"open": False} if close else {})
        try:
            return (await self._door.ask("PATCH", self._path, msgspec.json.encode(patch))).json()
        except GatewayRefused as refusal:
            # Our own patch has come through, its answer has not, and the task has ended by now.
            if refusal.code != "task_closed":
                raise
            task = await self.look()
            if not {node["id"] for node in nodes} <= {_origin(node["id"]) for node in task["nodes"]}:
                raise
            return task

    async def cancel(self) -> dict[str, Any]:
        """The task object after it. One that has ended stays as it is."""
        return (await self._door.ask("DELETE", self._path)).json()

    async def events(self, after: str = "") -> AsyncGenerator[Event, None]:
        """What happens, from the start or `after` a cursor, until the task has ended; each event once.

        Goes on where it was when a connection is lost, also at another gateway. Where no stream of events comes
        through, it ends with the task all the same.
        """
        trying = Trying(self._door)
        start, ended, left = after, False, LAST_TRIES
        while left:
            try:
                async with aclosing(self._stream(after)) as stream:
                    async for event in stream:
                        trying.worked()
                        after = event.cursor
                        yield event
                        if event.last:
                            return
                lost = Lost("the gateway has ended the stream of events", silent=True)
            except Lost as error:
                lost = error
            if ended and lost.silent and after == start:
                return  # `start` was the cursor of the last event
            left -= ended
            self._door.leave(lost.at)
            await trying.pause()
            ended = (await self.look(nodes=False))["status"] in ENDED

    async def ended(self) -> dict[str, Any]:
        """Waits for the task's end; its object. Raises `TaskFailed` where it has not completed."""
        await self._completed(self.events())
        return await self.look()

    async def result(self, *nodes: str, progress: bool = False, hear: Hear | None = None) -> dict[str, Any]:
        """Waits for the task's end; the outputs of `nodes`, or of all: text, or a list of texts after `for_each`.

        `progress`: shows a bar meanwhile, on a terminal. `hear`: told of each event. Raises `TaskFailed`.
        """
        documents = await self._completed(watched(self) if progress else self.events(), hear)
        if nodes and documents.keys() >= set(nodes):
            return await self._outputs({node: documents[node] for node in nodes})
        return await self.outputs(await self.look(), *nodes)

    async def outputs(self, task: Mapping[str, Any], *nodes: str) -> dict[str, Any]:
        """The outputs of those of `nodes`, or of all, that have completed in this task object."""
        found = {node["id"]: node["document"] for node in task["nodes"] if node["status"] == "completed"}
        return await self._outputs(
            {id: document for id, document in found.items() if not nodes or {id, _origin(id)} & set(nodes)}
        )

    async def _completed(self, events: AsyncGenerator[Event, None], hear: Hear | None = None) -> dict[str, str]:
        """Waits for the task's end; the responses of its nodes. Raises `TaskFailed` where it has not completed."""
        documents: dict[str, str] = {}
        completed = False
        async for event in events:
            completed = event.name == "task.completed"
            if event.name == "node.completed" and event.node and event.document:
                documents[event.node] = event.document
            if hear is not None:
                hear(event)
        if not completed and (task := await self.look())["status"] != "completed":
            raise TaskFailed(task)
        return documents

    async def _outputs(self, documents: Mapping[str, str | None]) -> dict[str, Any]:
        gate = asyncio.Semaphore(AT_ONCE)

        async def fetch(document: str | None) -> str | None:
            if document is None:
                return None  # of `for_each` over an empty list
            async with gate:
                return output_text((await self._door.ask("GET", f"/v1/documents/{document}")).body)

        texts = await asyncio.gather(*map(fetch, documents.values()))
        return _joined(dict(zip(documents, texts, strict=True)))

    async def _stream(self, after: str) -> AsyncGenerator[Event, None]:
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": after} if after else {})
        parser = Parser()
        asked = self._door.asked("GET", f"{self._path}/events", None, headers, silence=SILENCE_SECONDS)
        async with asked as response:
            async for received in response.content.iter_any():
                for sent in parser.feed(received):
                    event = msgspec.json.decode(sent.data, type=Event)
                    yield msgspec.structs.replace(event, cursor=sent.id, name=sent.name)


async def watched(task: Task) -> AsyncGenerator[Event, None]:
    """The events of a task; where the terminal is one, a bar shows meanwhile how far it has come."""
    tally = Tally()
    async with aclosing(task.events()) as events:
        with Bar(task.id) as bar:
            async for event in events:
                if bar.visible and tally.take(event):
                    tally.total = (await task.look(nodes=False))["progress"]["total"]
                bar.show(tally.ended, tally.total, tally.text)
                yield event


def _origin(node: str) -> str:
    """`map` of `map[3]`."""
    return node.partition("[")[0]


def _joined(texts: dict[str, str | None]) -> dict[str, Any]:
    whole: dict[str, Any] = {}
    for id, text in texts.items():
        if text is None:
            whole[id] = []
        elif id == _origin(id):
            whole[id] = text
        else:
            whole.setdefault(_origin(id), []).append(text)
    return whole


def _query(fields: Mapping[str, Any]) -> str:
    return urlencode({name: value for name, value in fields.items() if value})
