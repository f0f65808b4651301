"""The tables of the Postgres bus, in a schema of their own."""

from __future__ import annotations

import asyncpg

# First half of every advisory lock of the bus, so that they meet nobody else's ("bus" in ASCII).
LOCK_CLASS = 0x627573
_SETUP_LOCK = 0

_TABLES = """
create table agentos_bus.subscriptions (
    id    integer generated always as identity primary key,
    topic text not null,
    name  text not null,
    unique (topic, name)
);

-- One row per subscription joined by a process. session: the advisory lock that the process holds on its
-- connection for as long as it lives; Postgres drops it at once when the process dies. renewed_at: a sign of
-- life for the case that the process is there but stands still.
create table agentos_bus.consumers (
    id              integer generated always as identity primary key,
    subscription_id integer not null references agentos_bus.subscriptions,
    session         integer not null,
    joined_at       timestamptz not null default now(),
    renewed_at      timestamptz not null default now()
);

-- One row per message and subscription: subscriptions settle on their own. A row is in one of three states,
-- each with an index of its own, so that no search passes over rows of another state:
--   ready     visible_at null, consumer_id null
--   delayed   visible_at set,  consumer_id null; becomes ready by clearing visible_at, and keeps its place (id)
--   in flight visible_at null, consumer_id set
-- Settling deletes the row. consumer_id has no foreign key: it would cost a lock for each message; claims lock
-- the consumer's row once instead.
create table agentos_bus.messages (
    id              bigint generated always as identity primary key,
    subscription_id integer not null,
    consumer_id     integer,
    attempt         integer not null default 1,
    crashes         integer not null default 0,
    published_at    timestamptz not null default now(),
    visible_at      timestamptz,
    key             text,
    properties      text not null,
    body            bytea not null,
    check (consumer_id is null or visible_at is null)
) with (
    -- A queue turns over its whole content: dead rows are counted, not measured against the table's size.
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0,
    autovacuum_vacuum_insert_threshold = -1
);
create index ready on agentos_bus.messages (subscription_id, id) where consumer_id is null and visible_at is null;
create index delayed on agentos_bus.messages (subscription_id, visible_at) where visible_at is not null;
create index in_flight on agentos_bus.messages (consumer_id) where consumer_id is not null;

create table agentos_bus.blobs (
    id   text primary key,
    data bytea not null
);

-- Frames of channels that are too large for a notification. They live for seconds: no log, gone after a crash.
create unlogged table agentos_bus.frames (
    id      bigint generated always as identity primary key,
    sent_at timestamptz not null default now(),
    data    bytea not null
);

-- Bodies are JSON of other programs, often small or already dense: compressing them costs more than it saves.
alter table agentos_bus.messages alter column body set storage external;
alter table agentos_bus.blobs alter column data set storage external;
alter table agentos_bus.frames alter column data set storage external;
"""

# For tables that an earlier version made. What that version's processes write and read stays right beside it.
_UPGRADE = """
alter table agentos_bus.messages
    add column if not exists crashes integer not null default 0,
    add column if not exists published_at timestamptz not null default now(),
    add column if not exists key text
"""
_FIRST_COLUMN, _NEWEST_COLUMN = "id", "key"

# By plain queries: to_regclass and its like may answer from a cache that has not heard of others' commits.
_HAS_SCHEMA = "select exists (select from pg_namespace where nspname = 'agentos_bus')"
_HAS_COLUMN = """
select exists (
    select from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = 'agentos_bus' and c.relname = 'messages' and a.attname = $1 and not a.attisdropped
)
"""


async def ensure_schema(connection: asyncpg.Connection) -> None:
    """Makes what is missing, all of it or nothing. A role with rights on an existing schema alone is enough."""
    if await connection.fetchval(_HAS_COLUMN, _NEWEST_COLUMN):
        return
    async with connection.transaction():
        await connection.execute("select pg_advisory_xact_lock($1, $2)", LOCK_CLASS, _SETUP_LOCK)
        if await connection.fetchval(_HAS_COLUMN, _FIRST_COLUMN):
            await connection.execute(_UPGRADE)
            return
        if not await connection.fetchval(_HAS_SCHEMA):
            await connection.execute("create schema agentos_bus")
        await connection.execute(_TABLES)
