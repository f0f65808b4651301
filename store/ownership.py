"""Who owns a graph. Coordinators live by lease and lock; the tasks of the dead pass to others, under new epochs.

A coordinator is dead when its lease is over, or when its lock is free and it was not renewed for `MISSED_SECONDS`.
The lock belongs to its connection: Postgres frees it as soon as the process is gone. Whoever adopts writes down who
is dead, so that it stays dead; which of a late renewal and an adoption comes first, the row decides.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from core.errors import StaleEpoch
from store.graph_records import OwnedTask, Peer
from store.pool import Pool
from store.records import Epoch

# The first part of the advisory lock's key; the second is the coordinator's number.
LOCKS = 0x41474F53
# Two renewals that did not come. Nobody could renew while the server was down: its start counts as a renewal.
MISSED_SECONDS = 2
PATIENCE = f"interval '{MISSED_SECONDS} seconds'"

# In the words of the indexes tasks_waiting and tasks_owned. They fit no other index: else Postgres, planning while
# there are few tasks, takes any that looks as good, and keeps to it when there are a million.
WAITING = "(case when owner is null then state end) = 'open'"
OWNED = "(case when state = 'open' then owner end) is not null"

LOCK_ROW = f"locktype = 'advisory' and classid = {LOCKS} and objsubid = 2 and objid = coordinators.lock::oid \
and database = (select oid from pg_database where datname = current_database())"
LEASED = f"(lease_until > '-infinity' and greatest(lease_until, pg_postmaster_start_time() + {PATIENCE}) > now())"
LIVES = f"""(
    {LEASED} and (
        greatest(renewed_at, pg_postmaster_start_time()) > now() - {PATIENCE}
        or exists (select from pg_locks where {LOCK_ROW} and granted)
    )
)"""

# One statement, so that no one sees the row without the lock.
JOIN = f"""
with made as (
    insert into coordinators (name, region, lease_until, renewed_at)
    values ($1, $2, now() + $3::float8 * interval '1 second', now()) on conflict do nothing returning lock
)
select pg_advisory_lock({LOCKS}, lock) from made
"""

# The connection may be a new one: then it takes the lock, as soon as the server has seen the end of the old one.
RENEW = f"""
with mine as (
    update coordinators set renewed_at = now(), lease_until = now() + $2::float8 * interval '1 second'
    where name = $1 and {LEASED} returning lock
), locked as materialized (
    select pg_try_advisory_lock({LOCKS}, lock) from mine where not exists (
        select from pg_locks where {LOCK_ROW.replace("coordinators", "mine")} and pid = pg_backend_pid()
    )
), cleaned as (
    delete from coordinators where name = any(array(
        select name from coordinators where name <> $1 and not {LIVES}
               and not exists (select from tasks where {OWNED} and owner = coordinators.name)
        for update skip locked
    ))
)
select name, region, (select count(*) from locked) from coordinators
where exists (select from mine) and (name = $1 or {LIVES}) order by name
"""

LEAVE = f"""
with held as materialized (
    select task_id from tasks where {OWNED} and owner = $1 order by task_id for no key update
), freed as (
    update tasks set owner = null, regional_epoch = regional_epoch + 1
    where task_id = any(array(select task_id from held))
)
delete from coordinators where name = $1
"""

# What follows the tasks just taken.
TAKEN = """
select task_id, user_id, weight, global_epoch, regional_epoch, task_description, priority,
       extract(epoch from deadline)::float8, extract(epoch from created_at)::float8
from {tasks} join users using (user_id) order by priority desc, task_id
"""

MOVED = "region <> $2 and (global_epoch, regional_epoch) <> (0, 0)"

# - `waiting` are users with tasks to claim: from one index entry to that of the next user, from a place drawn by lot
#   on and then round, so that none is always the last.
# - Each has an equal part, by priority and age. The rows are locked as they are read, so that two claims at once get
#   different ones, and none waits.
# - A task that another region gave up goes on under a new global epoch. One that never had an owner is at (0, 0).
CLAIM = f"""
with recursive first as materialized (
    select coalesce(
        (select user_id from tasks where {WAITING} and user_id >= (
            select ($4::float8 * user_id)::bigint from tasks where {WAITING} order by user_id desc limit 1
        ) order by user_id limit 1),
        (select user_id from tasks where {WAITING} order by user_id limit 1)
    ) as user_id
), waiting(user_id, number) as (
    select user_id, 1 from first where user_id is not null
    union all
    select following.user_id, number + 1
    from waiting cross join first cross join lateral (
        select coalesce(
            (select user_id from tasks where {WAITING} and user_id > waiting.user_id order by user_id limit 1),
            (select user_id from tasks where {WAITING} order by user_id limit 1)
        ) as user_id
    ) following
    where number < $3 and following.user_id <> first.user_id
), picked as materialized (
    select task.task_id from waiting cross join lateral (
        select task_id from tasks where {WAITING} and user_id = waiting.user_id order by priority desc, task_id
        limit (select ceil($3::float8 / count(*))::bigint from waiting) for no key update skip locked
    ) task limit $3
), taken as (
    update tasks set owner = $1, region = $2,
        global_epoch = case when {MOVED} then global_epoch + 1 else global_epoch end,
        regional_epoch = case when {MOVED} then 0 else regional_epoch end
    where task_id = any(array(select task_id from picked)) returning tasks.*
)
{TAKEN.format(tasks="taken")}
"""

# - `ended` writes down who is dead. A renewal under way has the row locked: it lives.
# - `owners` steps from one owner to the next. One without a row is dead as well.
# - A task stays in its region as long as somebody lives there.
ADOPT = f"""
with recursive ended as (
    update coordinators set lease_until = '-infinity' where name = any(array(
        select name from coordinators where name <> $1 and lease_until > '-infinity' and not {LIVES}
        for no key update skip locked
    )) returning name
), living as materialized (
    select name, region from coordinators where name = $1 or (
        lease_until > '-infinity' and name not in (select name from ended)
    )
), owners(name) as (
    select (select owner from tasks where {OWNED} order by owner limit 1)
    union all
    select (select owner from tasks where {OWNED} and owner > owners.name order by owner limit 1)
    from owners where name is not null
), picked as materialized (
    select task.task_id from owners cross join lateral (
        select task_id from tasks
        where {OWNED} and owner = owners.name
              and (region = $2 or region <> all(array(select region from living)))
        order by task_id limit $3 for no key update skip locked
    ) task
    where owners.name <> $1 and owners.name <> all(array(select name from living)) limit $3
), taken as (
    update tasks set owner = $1, region = $2,
        global_epoch = case when region = $2 then global_epoch else global_epoch + 1 end,
        regional_epoch = case when region = $2 then regional_epoch + 1 else 0 end
    where task_id = any(array(select task_id from picked)) returning tasks.*
)
{TAKEN.format(tasks="taken")}
"""

MINE = f"select task_id from tasks where {OWNED} and owner = $1 order by task_id"

RELOAD = TAKEN.format(
    tasks="(select * from tasks where task_id = any($2::bigint[]) and state = 'open' and owner = $1) mine"
)


class Ownership:
    """Part of the `Store`."""

    _pool: Pool

    async def join(self, name: str, region: str, lease_seconds: float) -> None:
        """Makes this process a coordinator, on a connection of its own that holds its lock.

        `name` must never have been used: raises `StaleEpoch` if it is there. After `StoreUnavailable` take another.
        """
        if not await self._pool.fetch_own(JOIN, name, region, lease_seconds):
            raise StaleEpoch(f"there is a coordinator {name!r} already")

    async def renew(self, name: str, lease_seconds: float) -> list[Peer]:
        """Extends the lease and says who lives, by name, the caller among them.

        Raises `StaleEpoch` if the lease was lost: others may have its tasks; join again under a new name.
        """
        rows = await self._pool.fetch_own(RENEW, name, lease_seconds)
        if not rows:
            raise StaleEpoch(f"the lease of coordinator {name!r} is over")
        return [Peer(peer, region) for peer, region, _ in rows]

    async def leave(self, name: str) -> None:
        """Gives up all tasks at once, under their next regional epochs, and is no coordinator any more."""
        await self._pool.fetch(LEAVE, name)
        await self._pool.release_own()

    async def claim_tasks(self, owner: str, region: str, *, limit: int) -> list[OwnedTask]:
        """Takes graphs that nobody owns: of each user who waits an equal part, the rest of those who have more.

        What was never owned keeps its epoch.
        """
        mine: list[OwnedTask] = []
        while len(mine) < limit:
            rows = await self._pool.fetch(CLAIM, owner, region, limit - len(mine), random.random())
            if not rows:
                break
            mine += [_owned(*row) for row in rows]
        return mine

    async def adopt_tasks(self, owner: str, region: str, *, limit: int) -> list[OwnedTask]:
        """Takes graphs of coordinators that are dead, each under a newer epoch; of another region's only where
        nobody lives there. Fewer than `limit` does not mean that there are no more.
        """
        return [_owned(*row) for row in await self._pool.fetch(ADOPT, owner, region, limit)]

    async def reload_tasks(self, owner: str, task_ids: Sequence[int]) -> list[OwnedTask]:
        """Those of these graphs that are open and the owner's, as they are now."""
        return [_owned(*row) for row in await self._pool.fetch(RELOAD, owner, task_ids)]

    async def owned_tasks(self, owner: str) -> list[int]:
        """The numbers of the open graphs that are the owner's: also of those that it does not know to be its own,
        since the answer to a submission, a claim or an adoption was lost.
        """
        return [task_id for (task_id,) in await self._pool.fetch(MINE, owner)]


def _owned(
    task_id: int, user_id: int, weight: float, region: int, proxy: int, description: str, priority: int,
    deadline: float | None, created_at: float,
) -> OwnedTask:  # fmt: skip
    return OwnedTask(
        task_id=task_id,
        user_id=user_id,
        weight=weight,
        epoch=Epoch(region, proxy),
        description=description,
        priority=priority,
        deadline=deadline,
        created_at=created_at,
    )
