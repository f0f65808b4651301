"""The fold: result events become progress, ledger and inbox rows, each exactly once, in one statement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from store.clean import columns, place
from store.pool import Pool
from store.records import Answer, Epoch, Fate, Folded, FoldOutcome

# How it keeps its word:
# - `fresh` remembers the events. Of two folds with the same event the second waits here for the first, then gets
#   no row for it. Sorted, so that two folds cannot wait for each other.
# - `known` holds the tasks, so that none is deleted between here and the insert that refers to it.
# - `winner` is the largest epoch of each node in this batch, and the earliest of that. Its sort needs all of
#   `fresh`, so every inbox row is locked before the first progress row: two folds take locks in one order.
# - `written` is the rule of epochs: a first result is kept, a strictly newer one replaces.
# - Only a dispatch forgets a result (store/dispatching.py): a failed one, for the node's next attempt. Should another
#   run of the earlier attempt's request end after that, its result is a first one again: it is kept. The later
#   attempt's is then late; or replaces it, if that left under a newer epoch. One result stands either way.
# - A document's number is drawn before it is known whether its result is kept; the document is written only then.
FOLD = """
with input as materialized (
    select * from unnest(
        $1::text[], $2::text[], $3::bool[], $4::bool[], $5::bigint[], $6::text[], $7::bigint[], $8::bigint[],
        $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::int[], $16::bigint[],
        $17::bigint[], $18::bigint[], $19::bigint[], $20::bigint[], $21::bool[], $22::text[], $23::text[],
        $24::float8[], $25::float8[]
    ) with ordinality as i(
        event_id, request_id, final, reached_provider, task_id, node_id, global_epoch, regional_epoch,
        result, response, model, node, node_type, outcome, status, prompt_tokens,
        completion_tokens, total_tokens, cached_tokens, reasoning_tokens, estimated, ai_model_name,
        ai_model_namespace, started_at, finished_at, position
    )
), fresh as (
    insert into inbox (event_id) select distinct event_id from input order by event_id
    on conflict do nothing returning event_id
), event as materialized (
    select distinct on (event_id) input.* from input join fresh using (event_id) order by event_id, position
), known as materialized (
    select task_id, state is not null as graph from tasks where task_id = any($5::bigint[])
    order by task_id for key share
), winner as materialized (
    select distinct on (task_id, node_id) event.*,
           case when response is not null then nextval('documents_doc_id_seq') end as doc_id
    from event join known using (task_id) where final and node_id is not null
    order by task_id, node_id, global_epoch desc, regional_epoch desc, position
), written as (
    insert into progress (task_id, node_id, global_epoch, regional_epoch, result, event_id, doc_id, outcome)
    select task_id, node_id, global_epoch, regional_epoch,
           coalesce('{"document":' || doc_id || result, result), event_id, doc_id, outcome
    from winner
    on conflict (task_id, node_id) do update
    set global_epoch = excluded.global_epoch, regional_epoch = excluded.regional_epoch, result = excluded.result,
        event_id = excluded.event_id, doc_id = excluded.doc_id, outcome = excluded.outcome,
        settled_at = excluded.settled_at, xid = excluded.xid
    where (progress.global_epoch, progress.regional_epoch) < (excluded.global_epoch, excluded.regional_epoch)
    returning event_id, doc_id
), responses as (
    insert into documents (doc_id, doc_type, doc_content, task_id)
    select written.doc_id, 'response', response, task_id
    from winner join written using (event_id) where written.doc_id is not null
), attempts as (
    insert into ledger (
        request_id, event_id, task_id, node_id, model, node, node_type, outcome, status, prompt_tokens,
        completion_tokens, total_tokens, cached_tokens, reasoning_tokens, estimated, ai_model_name,
        ai_model_namespace, started_at, finished_at
    )
    select request_id, event_id, task_id, node_id, model, node, node_type, outcome, status, prompt_tokens,
           completion_tokens, total_tokens, cached_tokens, reasoning_tokens, estimated, ai_model_name,
           ai_model_namespace, to_timestamp(started_at), to_timestamp(finished_at)
    from event where reached_provider
    on conflict do nothing
)
select position, coalesce(graph, false), doc_id, known.task_id is not null, written.event_id is not null
from event left join known using (task_id) left join written using (event_id)
"""

STANDING = """
select task_id, node_id, global_epoch, regional_epoch
from progress join unnest($1::bigint[], $2::text[]) as wanted(task_id, node_id) using (task_id, node_id)
"""

ANSWERS = """
select progress.task_id, result, doc_content
from progress left join documents using (doc_id)
where progress.task_id = any($1::bigint[])
"""


class Fold:
    """Part of the `Store`."""

    _pool: Pool

    async def fold(self, batch: Sequence[Folded]) -> list[Fate]:
        """Folds result events, each exactly once however often it comes, in this batch or another.

        The outcome is as if the batch's events came one after the other, those of newer epochs first.
        """
        events = list(batch)
        rows = await self._pool.fetch(FOLD, *columns(events))
        seen = {position - 1: row for position, *row in rows}
        refused = [place(events[at]) for at, (_, _, known, written) in seen.items() if known and not written]
        standing = await self._standing([node for node in refused if node])
        return [_fate(event, seen.get(at), standing) for at, event in enumerate(events)]

    async def answers(self, task_ids: Sequence[int]) -> dict[int, Answer]:
        """The answers of those tasks, of one node each, that have a result."""
        rows = await self._pool.fetch(ANSWERS, task_ids)
        return {task_id: Answer(result, response) for task_id, result, response in rows}

    async def _standing(self, nodes: list[tuple[int, str]]) -> dict[tuple[int, str], Epoch]:
        """The epochs of the results of these nodes."""
        if not nodes:
            return {}
        rows = await self._pool.fetch(STANDING, [task_id for task_id, _ in nodes], [node_id for _, node_id in nodes])
        return {(task_id, node_id): Epoch(*epoch) for task_id, node_id, *epoch in rows}


def _fate(event: Folded, seen: Sequence[Any] | None, standing: dict[tuple[int, str], Epoch]) -> Fate:
    """`seen`: is its task a graph, the response's number, is its task known, was it written; None if the event was
    folded before.
    """
    if seen is None:
        return Fate(FoldOutcome.DUPLICATE)
    graph, document, known, written = seen
    return Fate(_outcome(event, known, written, standing), graph, document)


def _outcome(event: Folded, known: bool, written: bool, standing: dict[tuple[int, str], Epoch]) -> FoldOutcome:
    node = place(event)
    if not event.final or node is None:
        return FoldOutcome.LEDGER_ONLY
    if not known:
        return FoldOutcome.UNKNOWN_TASK
    if written:
        return FoldOutcome.FOLDED
    return FoldOutcome.STALE if event.epoch < standing.get(node, event.epoch) else FoldOutcome.LATE
