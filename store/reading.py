"""Graphs as they are read: by their owners, by users and by whoever follows what happens."""

from __future__ import annotations

from collections.abc import Sequence

from core.errors import NotFound
from store.cursor import BEGINNING, Place, decode, encode
from store.graph_records import EventRow, NodeRow, TaskRow, TaskState, UserRow
from store.pool import Pool
from store.records import Epoch

LARGEST = 2**63 - 1
MOST_EVENTS = 10_000
MOST_TASKS = 1_000

TASK = """
select task_id, coalesce(name, ''), state, global_epoch, regional_epoch, owner, task_description, priority,
       extract(epoch from deadline)::float8, extract(epoch from created_at)::float8,
       extract(epoch from finished_at)::float8, summary,
       exists (select from dispatches where dispatches.task_id = tasks.task_id)
from {tasks} left join users using (user_id) order by task_id desc
"""

ONE = TASK.format(tasks="(select * from tasks where task_id = $1 and state is not null) tasks")

# The newest of each state, then of all: so each is a few entries of an index, however few tasks are in a state. The
# state is a range here, not one value: else Postgres may well go down the numbers of all tasks to find the state.
NEWEST = """(
    select task.* from unnest($2::text[]) as wanted(state) cross join lateral (
        select * from tasks
        where ({user}state, task_id) >= ({is_user}wanted.state, 0)
              and ({user}state, task_id) < ({is_user}wanted.state, $3::bigint) and state is not null
        order by {order}state desc, task_id desc limit $4
    ) task where {filter} order by task_id desc limit $4
) tasks"""
ALL = TASK.format(tasks=NEWEST.format(user="", is_user="", order="", filter="$1::text is null"))
OF_USER = TASK.format(
    tasks=NEWEST.format(
        user="user_id, ",
        is_user="(select user_id from users where name = $1), ",
        order="user_id desc, ",
        filter="true",
    )
)

NODES = """
select task_id, node_id, request_id, model, coalesce(attempt, 0), extract(epoch from dispatched_at)::float8, result
from (select * from dispatches where task_id = any($1::bigint[])) dispatched
full join (select * from progress where task_id = any($1::bigint[])) settled using (task_id, node_id)
"""

SETTLED = """
select task_id, node_id, request_id, model, coalesce(attempt, 0), extract(epoch from dispatched_at)::float8, result
from unnest($1::bigint[], $2::text[]) as wanted(task_id, node_id)
cross join lateral (
    select result from progress where task_id = wanted.task_id and node_id = wanted.node_id limit 1
) settled
left join lateral (
    select request_id, model, attempt, dispatched_at from dispatches
    where task_id = wanted.task_id and node_id = wanted.node_id limit 1
) dispatched on true
"""

# Transactions commit in another order than they begin. Below the oldest that is under way nothing can appear any
# more: in that order nobody misses an event, and none comes twice.
EVENTS = """
select * from (
    select xid, 'running' as kind, node_id, extract(epoch from dispatched_at)::float8 as at, null as result
    from dispatches where task_id = $1
    union all
    select xid, 'settled', node_id, extract(epoch from settled_at)::float8, result from progress where task_id = $1
    union all
    select xid, 'ended', '', extract(epoch from finished_at)::float8, state
    from tasks where task_id = $1 and xid is not null
) event
where xid < pg_snapshot_xmin(pg_current_snapshot()) and (xid, kind, node_id) > ($2::text::xid8, $3::text, $4::text)
order by xid, kind, node_id limit $5
"""

RESPONSES = "select doc_id, doc_content from documents where doc_id = any($1::bigint[])"
USERS = "select name, weight from users order by name"
SET_WEIGHT = "insert into users (name, weight) values ($1, $2) on conflict (name) do update set weight = $2"


class Reading:
    """Part of the `Store`."""

    _pool: Pool

    async def task(self, task_id: int) -> TaskRow:
        """One graph. Raises `NotFound`."""
        rows = await self._pool.fetch(ONE, task_id)
        if not rows:
            raise NotFound(f"there is no task graph {task_id}")
        return _task(*rows[0])

    async def tasks(
        self, user: str | None = None, state: TaskState | None = None, before: int | None = None, limit: int = 20
    ) -> list[TaskRow]:
        """Graphs, newest first, at most 1,000: of a user, in a state, older than the task `before`; None: any."""
        states = list(TaskState) if state is None else [state]
        statement = ALL if user is None else OF_USER
        newest = LARGEST if before is None else before
        return [
            _task(*row) for row in await self._pool.fetch(statement, user, states, newest, min(limit, MOST_TASKS))
        ]

    async def nodes_of(self, task_ids: Sequence[int]) -> list[NodeRow]:
        """What was dispatched or settled of these tasks, in no order. `attempt` is 0 where nothing was dispatched."""
        return [_node(*row) for row in await self._pool.fetch(NODES, task_ids)]

    async def settled_among(self, nodes: Sequence[tuple[int, str]]) -> list[NodeRow]:
        """Those of these nodes (task, node) that have a result."""
        task_ids, node_ids = [task_id for task_id, _ in nodes], [node_id for _, node_id in nodes]
        return [_node(*row) for row in await self._pool.fetch(SETTLED, task_ids, node_ids)]

    async def events_after(self, task_id: int, cursor: str | None, limit: int) -> list[EventRow]:
        """What happened to a graph after `cursor` (None: from the beginning), in order, at most 10,000.

        A node's later attempt takes the place of the earlier one. A transaction that stays open anywhere on the
        database server, even about other things, holds up what was committed after its begin. Raises `NotFound`
        where the cursor is unreadable.
        """
        after = BEGINNING if cursor is None else decode(cursor)
        key = (str(after.xid), after.kind, after.node_id)
        rows = await self._pool.fetch(EVENTS, task_id, *key, min(limit, MOST_EVENTS))
        return [_event(*row) for row in rows]

    async def responses(self, doc_ids: Sequence[int]) -> dict[int, str]:
        """The contents of those of these documents that are there."""
        return dict(await self._pool.fetch(RESPONSES, doc_ids))

    async def users(self) -> list[UserRow]:
        """Everybody who has submitted a task or has a weight, by name; the nameless one is ''."""
        return [UserRow(*row) for row in await self._pool.fetch(USERS)]

    async def set_weight(self, name: str, weight: float) -> None:
        """Sets a user's share beside others'; makes the user known. Raises `StoreError` where it is not over 0."""
        await self._pool.fetch(SET_WEIGHT, name, weight)


def _task(
    task_id: int, user: str, state: str, region: int, proxy: int, owner: str | None, description: str, priority: int,
    deadline: float | None, created_at: float, finished_at: float | None, summary: str | None, running: bool,
) -> TaskRow:  # fmt: skip
    return TaskRow(
        task_id=task_id,
        user=user,
        state=TaskState(state),
        running=running,
        epoch=Epoch(region, proxy),
        owner=owner,
        description=description,
        priority=priority,
        deadline=deadline,
        created_at=created_at,
        finished_at=finished_at,
        summary=summary,
    )


def _node(
    task_id: int, node_id: str, request_id: str | None, model: str | None, attempt: int, dispatched_at: float | None,
    result: str | None,
) -> NodeRow:  # fmt: skip
    return NodeRow(
        task_id=task_id,
        node_id=node_id,
        request_id=request_id,
        model=model,
        attempt=attempt,
        dispatched_at=dispatched_at,
        result=result,
    )


def _event(xid: int, kind: str, node_id: str, at: float, result: str | None) -> EventRow:
    return EventRow(cursor=encode(Place(xid, kind, node_id)), kind=kind, node_id=node_id, at=at, result=result)
