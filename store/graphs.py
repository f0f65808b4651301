"""Graphs as their owners write them: every write checks, in the statement, the task's epoch and that it is open."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from core.errors import NotFound, StaleEpoch, TaskClosed
from store.graph_records import Accepted, Finish, InFlight, NewTask
from store.pool import Pool
from store.records import Epoch

# How one key gives one task:
# - `input` has the number of the first of the batch with the same user and key in `first_id`.
# - `known` are the users that were there; `made` the new ones. Where another submission makes the same user
#   meanwhile, this one waits for it and gets that row: an update, since an ignored conflict returns nothing.
# - `earlier` are the tasks of these keys that were there; the rest is inserted, in the order of the keys, so that two
#   submissions cannot wait for each other. Where another has just made it, its row is what the insert returns.
SUBMIT = """
with drawn as materialized (
    select i.*, nextval('tasks_task_id_seq') as task_id
    from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::int[], $6::float8[], $7::text[], $8::text[])
         with ordinality
         as i(name, description, fingerprint, region, priority, deadline, idempotency_key, owner, position)
), input as materialized (
    select drawn.*, min(task_id) over (
        partition by name, idempotency_key, case when idempotency_key is null then position end
    ) as first_id from drawn
), known as materialized (
    select user_id, name, weight from users where name = any($1::text[])
), made as (
    insert into users (name) select distinct name from input where name not in (select name from known) order by name
    on conflict (name) do update set weight = users.weight returning user_id, name, weight
), owned as materialized (
    select input.*, user_id, weight from input join (select * from known union all select * from made) u using (name)
), earlier as materialized (
    select owned.position, tasks.task_id, tasks.fingerprint
    from owned cross join lateral (
        select task_id, fingerprint from tasks
        where user_id = owned.user_id and idempotency_key = owned.idempotency_key limit 1
    ) tasks
), written as (
    insert into tasks (task_id, user_id, task_type, global_epoch, regional_epoch, task_description, state, region,
                       owner, priority, deadline, idempotency_key, fingerprint)
    select task_id, user_id, 'graph', 0, 0, description, 'open', region,
           owner, priority, to_timestamp(deadline), idempotency_key, fingerprint
    from owned where task_id = first_id and position not in (select position from earlier)
    order by user_id, idempotency_key, position
    on conflict (user_id, idempotency_key) where idempotency_key is not null
    do update set idempotency_key = excluded.idempotency_key
    returning task_id, user_id, idempotency_key, fingerprint
), meant as (
    select position, user_id, weight, owned.task_id as drawn_id, owned.fingerprint as wanted,
           coalesce(earlier.task_id, written.task_id, first_id) as task_id,
           coalesce(earlier.fingerprint, written.fingerprint, owned.fingerprint) as fingerprint
    from owned left join earlier using (position) left join written using (user_id, idempotency_key)
)
select task_id, task_id = drawn_id as fresh, fingerprint = wanted as same, user_id, weight,
       extract(epoch from now())::float8
from meant order by position
"""

# The tasks of `input` that are open at exactly its epoch. In the order of their numbers, so that two batches cannot
# wait for each other; one at a time, so that no plan can read all tasks for it.
HELD = """
select task.task_id, wanted.global_epoch, wanted.regional_epoch
from (select distinct task_id, global_epoch, regional_epoch from input order by 1, 2, 3) wanted
cross join lateral (
    select task_id from tasks
    where task_id = wanted.task_id and state = 'open'
          and global_epoch = wanted.global_epoch and regional_epoch = wanted.regional_epoch
    for {lock}
) task
"""

FINISH = f"""
with input as materialized (
    select * from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[], $5::text[]) with ordinality
                  as i(task_id, global_epoch, regional_epoch, ending, summary, position)
), held as materialized ({HELD.format(lock="no key update")}
), meant as materialized (
    select distinct on (task_id) input.*
    from input join held using (task_id, global_epoch, regional_epoch) order by task_id, position
), finished as (
    update tasks set state = ending, summary = meant.summary, finished_at = now(), xid = pg_current_xact_id()
    from meant where tasks.task_id = meant.task_id and tasks.task_id = any(array(select task_id from held))
    returning position
)
select finished.position is not null from input left join finished using (position) order by position
"""

CANCEL = """
update tasks set state = 'cancelled', summary = '{}', finished_at = now(), xid = pg_current_xact_id()
where task_id = $1 and state = 'open' returning task_id
"""

# After the commit of CANCEL: a dispatch that it waited for is seen here, and no other can come.
STOP = """
with unsent as (
    delete from outbox where task_id = $1
)
select model, request_id from dispatches
where task_id = $1 and not exists (
    select from progress where task_id = $1 and node_id = dispatches.node_id
) order by node_id
"""

REVISE = """
update tasks set task_description = $4, regional_epoch = regional_epoch + 1
where task_id = $1 and global_epoch = $2 and regional_epoch = $3 and state = 'open'
returning global_epoch, regional_epoch
"""

STATE = "select state, global_epoch, regional_epoch from tasks where task_id = $1 and state is not null"

SETTLE = """
with held as (
    select task_id from tasks
    where task_id = $1 and global_epoch = $2 and regional_epoch = $3 and state = 'open' for share
)
insert into progress (task_id, node_id, global_epoch, regional_epoch, result, outcome)
select task_id, $4, $2, $3, $5, $6 from held
on conflict do nothing returning task_id
"""


class _Outcome(msgspec.Struct):
    outcome: str | None = None


class Graphs:
    """Part of the `Store`."""

    _pool: Pool

    async def submit_tasks(self, batch: Sequence[NewTask]) -> list[Accepted]:
        """Keeps graphs, in one statement; one with the user and key of an earlier one is that one.

        After `StoreUnavailable` they may have been kept all the same (see `owned_tasks`).
        """
        rows = await self._pool.fetch(SUBMIT, *_new_columns(batch))
        return [Accepted(**dict(zip(Accepted.__struct_fields__, row, strict=True))) for row in rows]

    async def finish(self, batch: Sequence[Finish]) -> list[bool]:
        """Ends graphs. False where the epoch is not the task's, or it has ended before: nothing was changed."""
        columns = [
            [each.task_id for each in batch],
            [each.epoch.global_epoch for each in batch],
            [each.epoch.regional_epoch for each in batch],
            [each.state for each in batch],
            [each.summary for each in batch],
        ]
        return [finished for (finished,) in await self._pool.fetch(FINISH, *columns)]

    async def cancel(self, task_id: int) -> list[InFlight]:
        """Ends a graph, whoever owns it, and forgets its messages that have not left. Returns the calls to stop.

        Among them may be some that have not left, or never will: a message that has left stays in the outbox for a
        moment, so nobody can tell. Empty if the graph has ended before. Raises `NotFound`.
        """
        if not await self._pool.fetch(CANCEL, task_id):
            await self._state(task_id)
            return []
        return [InFlight(*row) for row in await self._pool.fetch(STOP, task_id)]

    async def revise(self, task_id: int, epoch: Epoch, description: str) -> Epoch:
        """Replaces the description of a graph that is open and still at `epoch`. Returns its new epoch.

        Raises `NotFound`, `TaskClosed`, `StaleEpoch`.
        """
        rows = await self._pool.fetch(REVISE, task_id, epoch.global_epoch, epoch.regional_epoch, description)
        if rows:
            return Epoch(*rows[0])
        state, *at = await self._state(task_id)
        if state != "open":
            raise TaskClosed(f"task {task_id} has ended ({state})")
        raise StaleEpoch(f"task {task_id} is at epoch {Epoch(*at)}; a write under {epoch} is refused")

    async def settle_node(self, task_id: int, epoch: Epoch, node_id: str, result: str) -> bool:
        """The owner's own result for a node that no worker served. False: stale, ended, or the node has a result.

        `result`: the text of a JSON object.
        """
        told = msgspec.json.decode(result, type=_Outcome).outcome
        key = (task_id, epoch.global_epoch, epoch.regional_epoch, node_id)
        return bool(await self._pool.fetch(SETTLE, *key, result, told))

    async def _state(self, task_id: int) -> tuple[str, int, int]:
        rows = await self._pool.fetch(STATE, task_id)
        if not rows:
            raise NotFound(f"there is no task graph {task_id}")
        return tuple(rows[0])


def _new_columns(batch: Sequence[NewTask]) -> list[list[object]]:
    return [
        [each.user for each in batch],
        [each.description for each in batch],
        [each.fingerprint for each in batch],
        [each.region for each in batch],
        [each.priority for each in batch],
        [each.deadline for each in batch],
        [each.idempotency_key for each in batch],
        [each.owner for each in batch],
    ]
