"""The events of a task as a stream that can be resumed: each comes from the store, in the order of its commits.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

from coordinator.graph.graph import status_of
from coordinator.noderesult import decode_node_result
from coordinator.tasks.news import Newsroom
from coordinator.tasks.views import event_data
from store import EventRow, Store
from store.cursor import ends

# News may be lost, and others' commits may come later than their news: so the store is asked now and then.
LOOK_SECONDS = 1.0
PING_SECONDS = 15.0
PAGE = 500
PING = b": ping\n\n"


async def events(store: Store, newsroom: Newsroom, task_id: int, cursor: str) -> AsyncIterator[bytes]:
    """Events after `cursor` (empty: all), until the task has ended, or this gateway stops: then the client goes on at
    another. Raises `NotFound`, `StoreUnavailable`.
    """
    if cursor and ends(cursor):
        return
    told_at = time.monotonic()
    with newsroom.watch(task_id) as news:
        while not newsroom.ended:
            news.clear()
            rows = await store.events_after(task_id, cursor or None, PAGE)
            if rows:
                cursor, told_at = rows[-1].cursor, time.monotonic()
                yield b"".join(_event(task_id, row) for row in rows)
                if rows[-1].kind == "ended":
                    return
            elif time.monotonic() - told_at > PING_SECONDS:
                told_at = time.monotonic()
                yield PING
            if len(rows) < PAGE:
                await _either(news)


async def _either(news: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(LOOK_SECONDS):
            await news.wait()
    except TimeoutError:
        return


def _event(task_id: int, row: EventRow) -> bytes:
    if row.kind == "ended":
        status, result = row.result or "", None
    elif row.result is None:
        status, result = "running", None
    else:
        result = decode_node_result(row.result)
        status = status_of(result).value
    subject = "node" if row.node_id else "task"
    data = event_data(task_id, row.node_id, status, result, row.at)
    return b"id: %b\nevent: %b.%b\ndata: %b\n\n" % (
        row.cursor.encode(),
        subject.encode(),
        status.encode(),
        data,
    )
