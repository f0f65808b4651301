"""Submissions and events with sensible defaults, and a second pair of eyes on the tables."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from store import Dispatch, Epoch, Folded, FoldOutcome, NewTask, OwnedTask, Store, Submission

SUBMISSION = Submission(
    user_id=1,
    task_type="chat",
    description='{"nodes": ["n"]}',
    node_id="n",
    topic="model-mock",
    subscription="model-mock-subscription",
    envelope='{"request_id": "r"}',
    body='{"model": "mock", "text": "\\u0000"}',
    owner="gateway",
    lease_seconds=60.0,
    epoch=Epoch(0, 0),
)


def event(**changes: Any) -> Folded:
    """A completed attempt at no task."""
    values: dict[str, Any] = {
        "event_id": uuid.uuid4().hex,
        "request_id": uuid.uuid4().hex,
        "final": True,
        "reached_provider": True,
        "task_id": None,
        "node_id": "n",
        "epoch": Epoch(0, 0),
        "result": '{"outcome": "completed"}',
        "response": None,
        "model": "mock",
        "node": "worker-1",
        "node_type": "mock",
        "outcome": "completed",
        "status": 200,
        "prompt_tokens": 3,
        "completion_tokens": 4,
        "total_tokens": 7,
        "cached_tokens": 0,
        "reasoning_tokens": 0,
        "estimated": False,
        "ai_model_name": None,
        "ai_model_namespace": None,
        "started_at": 1_700_000_000.0,
        "finished_at": 1_700_000_001.5,
    }
    return Folded(**(values | changes))


def graph(**changes: Any) -> NewTask:
    """A graph of the user u."""
    return NewTask(**({"user": "u", "description": "{}", "fingerprint": "f", "region": "here"} | changes))


def dispatch(task: OwnedTask, **changes: Any) -> Dispatch:
    """The first attempt at a node of a graph, left in the outbox for others at once."""
    values: dict[str, Any] = {
        "task_id": task.task_id,
        "epoch": task.epoch,
        "node_id": "n",
        "attempt": 1,
        "request_id": uuid.uuid4().hex,
        "model": "mock",
        "topic": "model-mock",
        "subscription": "model-mock-subscription",
        "envelope": "{}",
        "body": "{}",
        "owner": "c",
        "lease_seconds": 0.0,
    }
    return Dispatch(**(values | changes))


async def owned(store: Store, number: int = 1, *, owner: str = "c", **changes: Any) -> list[OwnedTask]:
    """New graphs of this owner."""
    accepted = await store.submit_tasks([graph(owner=owner, **changes)] * number)
    return await store.reload_tasks(owner, [each.task_id for each in accepted])


async def outcomes(store: Store, batch: Sequence[Folded]) -> list[FoldOutcome]:
    """What folding does with each event."""
    return [fate.outcome for fate in await store.fold(batch)]


@asynccontextmanager
async def eyes(url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection beside the store's own."""
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


async def count(url: str, table: str) -> int:
    """Rows in a table."""
    async with eyes(url) as connection:
        return int(await connection.fetchval(f"select count(*) from {table}"))


async def cut(url: str, name: str) -> None:
    """Ends a coordinator's own connection, and has its last renewal be long ago: as if its process was killed.

    Waits until the server has been up for so long that it believes in it.
    """
    async with eyes(url) as connection:
        await connection.execute(
            "select pg_sleep(extract(epoch from pg_postmaster_start_time() - now() + interval '2.1 seconds'))"
        )
        await connection.execute(
            "select pg_terminate_backend(pid, 10000) from pg_locks join coordinators on objid = lock::oid "
            "where locktype = 'advisory' and objsubid = 2 and granted and name = $1 and database = "
            "(select oid from pg_database where datname = current_database())",
            name,
        )
        await connection.execute(
            "update coordinators set renewed_at = now() - interval '1 hour' where name = $1", name
        )


async def expire(url: str, name: str) -> None:
    """Has a coordinator's lease be over, as if its process was stopped: its connection is still there."""
    async with eyes(url) as connection:
        await connection.execute(
            "select pg_sleep(extract(epoch from pg_postmaster_start_time() - now() + interval '2.1 seconds'))"
        )
        await connection.execute("update coordinators set lease_until = now() where name = $1", name)


BARRIER = 42


@asynccontextmanager
async def barrier(url: str, table: str) -> AsyncIterator[asyncpg.Connection]:
    """Holds every insert into `table` in mid-statement for as long as this is open."""
    async with eyes(url) as connection:
        await connection.execute(f"""
            create function hold() returns trigger language plpgsql as
            $$ begin perform pg_advisory_xact_lock({BARRIER}); return new; end $$;
            create trigger hold before insert on {table} for each row execute function hold();
        """)
        await connection.execute(f"select pg_advisory_lock({BARRIER})")
        yield connection
        await connection.execute("select pg_advisory_unlock_all(); drop function hold cascade")


async def waiting(connection: asyncpg.Connection) -> int:
    """The process id of the backend that waits at the barrier, once one does."""
    query = "select pid from pg_locks where locktype = 'advisory' and not granted and objid = $1"
    async with asyncio.timeout(20):
        while (pid := await connection.fetchval(query, BARRIER)) is None:  # noqa: ASYNC110 - no event tells of it
            await asyncio.sleep(0.005)
    return int(pid)
