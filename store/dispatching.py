"""Dispatch: a node's request and its message are committed together, only under the epoch of the task's owner."""

from __future__ import annotations

from collections.abc import Sequence

from store.graph_records import Dispatch
from store.graphs import HELD
from store.pool import Pool

# How it keeps its word:
# - `held` has the tasks that are open at exactly this epoch. The lock excludes the writes that change either; a
#   statement that waited for one looks at the row again. So no dispatch commits under an epoch that has passed, and
#   who has taken the task over sees all that were committed before.
# - `standing` holds the results that are there. Tasks, then results, then dispatches are locked, each in the order of
#   their keys: batches, folds and new owners do not wait for one another in a ring.
# - `taken` decides: a first attempt needs a node without result, a later one a node whose result failed; and neither
#   the same attempt nor a later one may have been dispatched.
# - `superseded`: the message of an attempt that has failed has left, whatever its owner could still tell.
DISPATCH = f"""
with input as materialized (
    select i.*, nextval('documents_doc_id_seq') as doc_id, nextval('outbox_outbox_id_seq') as outbox_id
    from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[], $5::int[], $6::text[], $7::text[], $8::text[],
                $9::text[], $10::text[], $11::text[], $12::text[], $13::float8[]) with ordinality
         as i(task_id, global_epoch, regional_epoch, node_id, attempt, request_id, model, topic,
              subscription, envelope, body, owner, lease_seconds, position)
), held as materialized ({HELD.format(lock="share")}
), wanted as materialized (
    select distinct on (task_id, node_id) input.*
    from input join held using (task_id, global_epoch, regional_epoch)
    order by task_id, node_id, attempt desc, position
), standing as materialized (
    select result.* from wanted cross join lateral (
        select task_id, node_id, outcome, doc_id from progress
        where task_id = wanted.task_id and node_id = wanted.node_id for update
    ) result
), taken as (
    insert into dispatches (task_id, node_id, request_id, model, attempt)
    select task_id, node_id, request_id, model, attempt from wanted left join standing using (task_id, node_id)
    where standing.task_id is null or (attempt > 1 and outcome is distinct from 'completed')
    order by task_id, node_id
    on conflict (task_id, node_id) do update
    set request_id = excluded.request_id, model = excluded.model, attempt = excluded.attempt,
        dispatched_at = excluded.dispatched_at, xid = excluded.xid
    where dispatches.attempt < excluded.attempt
    returning task_id, node_id
), sent as materialized (
    select wanted.* from wanted join taken using (task_id, node_id)
), failed as materialized (
    select standing.* from standing join taken using (task_id, node_id)
), forgotten as (
    delete from progress using failed
    where progress.task_id = failed.task_id and progress.node_id = failed.node_id
          and progress.task_id = any(array(select task_id from failed))
), responses as (
    delete from documents where doc_id = any(array(select doc_id from failed where doc_id is not null))
), superseded as (
    delete from outbox using failed
    where outbox.task_id = failed.task_id and outbox.node_id = failed.node_id
          and outbox.task_id = any(array(select task_id from failed))
), requests as (
    insert into documents (doc_id, doc_type, doc_content, task_id) select doc_id, 'request', body, task_id from sent
), messages as (
    insert into outbox (outbox_id, task_id, node_id, global_epoch, regional_epoch, topic, subscription, envelope,
                        doc_id, claimed_by, claimed_until)
    select outbox_id, task_id, node_id, global_epoch, regional_epoch, topic, subscription, envelope,
           doc_id, owner, now() + lease_seconds * interval '1 second' from sent
)
select sent.outbox_id from input left join sent using (position) order by position
"""


class Dispatching:
    """Part of the `Store`."""

    _pool: Pool

    async def dispatch(self, batch: Sequence[Dispatch]) -> list[int | None]:
        """Commits requests and their messages; the numbers of these in the outbox.

        None: refused, and nothing of it was written. Its epoch is not the task's, or the task has ended; its node was
        dispatched for this attempt or a later one; or it has a result that is no failed one of an earlier attempt.
        After `StoreUnavailable` it may have been committed all the same: then another owner publishes it when its
        lease has run out.
        """
        rows = await self._pool.fetch(DISPATCH, *_columns(batch))
        return [outbox_id for (outbox_id,) in rows]


def _columns(batch: Sequence[Dispatch]) -> list[list[object]]:
    return [
        [each.task_id for each in batch],
        [each.epoch.global_epoch for each in batch],
        [each.epoch.regional_epoch for each in batch],
        [each.node_id for each in batch],
        [each.attempt for each in batch],
        [each.request_id for each in batch],
        [each.model for each in batch],
        [each.topic for each in batch],
        [each.subscription for each in batch],
        [each.envelope for each in batch],
        [each.body for each in batch],
        [each.owner for each in batch],
        [each.lease_seconds for each in batch],
    ]
