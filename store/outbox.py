"""Submission: task, request and outgoing message commit together; and the outbox, from which messages leave."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from store.pool import Pool
from store.records import Epoch, OutboxRow, Submission, Submitted

# The keys are drawn first, so that the three inserts need not wait for one another's.
SUBMIT = """
with input as materialized (
    select i.*, nextval('tasks_task_id_seq') as task_id, nextval('documents_doc_id_seq') as doc_id,
           nextval('outbox_outbox_id_seq') as outbox_id
    from unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
                $9::text[], $10::float8[], $11::bigint[], $12::bigint[]) with ordinality
         as i(user_id, task_type, description, node_id, topic, subscription, envelope, body,
              owner, lease_seconds, global_epoch, regional_epoch, position)
), new_tasks as (
    insert into tasks (task_id, user_id, task_type, global_epoch, regional_epoch, task_description)
    select task_id, user_id, task_type, global_epoch, regional_epoch, description from input
), new_documents as (
    insert into documents (doc_id, doc_type, doc_content, task_id) select doc_id, 'request', body, task_id from input
), new_messages as (
    insert into outbox (outbox_id, task_id, node_id, global_epoch, regional_epoch, topic, subscription, envelope,
                        doc_id, claimed_by, claimed_until)
    select outbox_id, task_id, node_id, global_epoch, regional_epoch, topic, subscription, envelope,
           doc_id, owner, now() + lease_seconds * interval '1 second' from input
)
select task_id, doc_id, outbox_id from input order by position
"""

# A crash of the server begins its statistics anew. Where the bus is on the same server, it may have undone a
# publication of the moment before: what was claimed in an earlier life of the server stays, and is looked for.
PUBLISHED = """
delete from outbox
where outbox_id = any($1::bigint[])
and claimed_until - $2::float8 * interval '1 second' > (
    select coalesce(stats_reset, '-infinity') from pg_stat_bgwriter
)
"""

# What has its result or belongs to a graph that has ended need not leave.
NEEDED = """
not exists (select from progress where task_id = {row}.task_id and node_id = {row}.node_id)
and exists (select from tasks where task_id = {row}.task_id and coalesce(state, 'open') = 'open')
"""

# A row for each that was due; without an envelope where it was dropped.
CLAIM = f"""
with due as materialized (
    select outbox_id, task_id, node_id from outbox
    where claimed_until <= now() order by outbox_id limit $2 for update skip locked
), needed as materialized (
    select outbox_id from due where {NEEDED.format(row="due")}
), dropped as (
    delete from outbox where outbox_id = any(array(select outbox_id from due except select outbox_id from needed))
), claimed as (
    update outbox set claimed_by = $1, claimed_until = now() + $3::float8 * interval '1 second'
    where outbox_id = any(array(select outbox_id from needed)) returning outbox.*
), message as (
    select claimed.*, doc_content from claimed join documents using (doc_id)
)
select outbox_id, message.task_id, message.node_id, global_epoch, regional_epoch, topic, subscription, envelope,
       doc_content, extract(epoch from created_at)::float8
from due left join message using (outbox_id) order by outbox_id
"""

KEEP = f"""
update outbox set claimed_until = now() + $3::float8 * interval '1 second'
where outbox_id = any($2::bigint[]) and claimed_by = $1 and {NEEDED.format(row="outbox")}
returning outbox_id
"""


class Outbox:
    """Part of the `Store`."""

    _pool: Pool

    async def submit(self, batch: Sequence[Submission]) -> list[Submitted]:
        """Commits all of the batch or nothing, in one statement.

        After `StoreUnavailable` it may have been committed all the same: then another owner publishes it when
        its lease has run out.
        """
        rows = await self._pool.fetch(SUBMIT, *_columns(batch))
        return [Submitted(*row) for row in rows]

    async def published(self, outbox_ids: Sequence[int], *, lease_seconds: float) -> None:
        """Forgets messages that the broker has confirmed since they were claimed for so long. Again is no error.

        Where Postgres has crashed since the claim, they stay until another claim.
        """
        await self._pool.fetch(PUBLISHED, outbox_ids, lease_seconds)

    async def claim_outbox(self, owner: str, *, limit: int, lease_seconds: float) -> list[OutboxRow]:
        """Takes over messages whose owner let its lease run out, oldest first; two owners never get the same.

        Those whose node has its result, or whose graph has ended, are forgotten. Empty: none is left.
        """
        while rows := await self._pool.fetch(CLAIM, owner, limit, lease_seconds):
            if claimed := [_row(*row) for row in rows if row["envelope"] is not None]:
                return claimed
        return []

    async def keep_claims(self, owner: str, outbox_ids: Sequence[int], *, lease_seconds: float) -> set[int]:
        """Those of these messages that are still the owner's and needed, by the rule of `claim_outbox`. Their lease
        begins anew.
        """
        return {row["outbox_id"] for row in await self._pool.fetch(KEEP, owner, outbox_ids, lease_seconds)}


def _row(outbox_id: int, task_id: int, node_id: str, region: int, proxy: int, *rest: Any) -> OutboxRow:
    return OutboxRow(outbox_id, task_id, node_id, Epoch(region, proxy), *rest)


def _columns(batch: Sequence[Submission]) -> list[list[object]]:
    return [
        [each.user_id for each in batch],
        [each.task_type for each in batch],
        [each.description for each in batch],
        [each.node_id for each in batch],
        [each.topic for each in batch],
        [each.subscription for each in batch],
        [each.envelope for each in batch],
        [each.body for each in batch],
        [each.owner for each in batch],
        [each.lease_seconds for each in batch],
        [each.epoch.global_epoch for each in batch],
        [each.epoch.regional_epoch for each in batch],
    ]
