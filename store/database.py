"""The Database API of the seed: documents, tasks, progress, under epochs.

An owner's write counts only if its epoch is strictly newer than that of the row; the WHERE of the statement says
so. The same write again is a success that changes nothing. Deleting what is not there is a success.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, ColumnElement, Table, delete, insert, literal, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert as upsert

from core.errors import NotFound, StaleEpoch
from store.pool import Pool
from store.records import Epoch, Progress, Task
from store.tables import documents, progress, tasks

FIRST = Epoch(0, 0)


class Database:
    """Part of the `Store`."""

    _pool: Pool

    async def get_document(self, doc_id: int) -> str:
        """The content. Raises `NotFound`."""
        row = await self._row(select(documents.c.doc_content).where(documents.c.doc_id == doc_id))
        return str(_found(row, f"document {doc_id}").doc_content)

    async def store_document(self, doc_type: str, doc_content: str) -> int:
        """Keeps a document and returns its number."""
        values = {"doc_type": doc_type, "doc_content": doc_content}
        return int((await self._row(insert(documents).values(values).returning(documents.c.doc_id))).doc_id)

    async def delete_document(self, doc_id: int) -> None:
        """Forgets a document, and the message that was to carry it if that has not left yet."""
        await self._run(delete(documents).where(documents.c.doc_id == doc_id))

    async def create_task(self, user_id: int, task_type: str, task_description: str, *, epoch: Epoch = FIRST) -> int:
        """Makes a task and returns its number. `task_description` is JSON text."""
        values = {"user_id": user_id, "task_type": task_type, "task_description": task_description, **_epochs(epoch)}
        return int((await self._row(insert(tasks).values(values).returning(tasks.c.task_id))).task_id)

    async def get_task(self, task_id: int) -> Task:
        """(user_id, task_type, task_description). Raises `NotFound`."""
        row = await self._row(select(*_columns(tasks, Task._fields)).where(tasks.c.task_id == task_id))
        return Task(*_found(row, f"task {task_id}"))

    async def get_task_description(self, task_id: int) -> str:
        """Raises `NotFound`."""
        return (await self.get_task(task_id)).task_description

    async def update_task_type(self, task_id: int, task_type: str) -> None:
        """Raises `NotFound`."""
        change = update(tasks).where(tasks.c.task_id == task_id).values(task_type=task_type)
        _found(await self._row(change.returning(tasks.c.task_id)), f"task {task_id}")

    async def update_task_description(
        self, task_id: int, global_epoch: int, regional_epoch: int, task_description: str
    ) -> None:
        """Raises `StaleEpoch` unless the epoch is newer than the task's, or the write is the same; `NotFound`."""
        epoch = Epoch(global_epoch, regional_epoch)
        change = update(tasks).where(tasks.c.task_id == task_id, _older(tasks, epoch))
        change = change.values(task_description=task_description, **_epochs(epoch))
        if await self._row(change.returning(tasks.c.task_id)) is None:
            row = await self._row(select(tasks).where(tasks.c.task_id == task_id))
            task = _found(row, f"task {task_id}")
            _same_or_stale(f"task {task_id}", task, epoch, task.task_description == task_description)

    async def delete_task(self, task_id: int) -> None:
        """Forgets a task, its progress, its request and responses, and its messages that have not left."""
        await self._run(delete(tasks).where(tasks.c.task_id == task_id))

    async def save_progress(
        self, task_id: int, node_id: str, result: str, *, global_epoch: int = 0, regional_epoch: int = 0
    ) -> None:
        """An owner's result for a node, JSON text.

        Raises `StaleEpoch` unless the epoch is newer than that of the result there, or the write is the same;
        `NotFound` if there is no such task.
        """
        epoch = Epoch(global_epoch, regional_epoch)
        row = await self._row(_save(task_id, node_id, result, epoch))
        if row is None:
            _found(await self._row(select(tasks.c.task_id).where(tasks.c.task_id == task_id)), f"task {task_id}")
            standing = await self.get_progress(task_id, node_id)
            _same_or_stale(f"node {node_id!r} of task {task_id}", standing, epoch, standing.result == result)

    async def get_progress(self, task_id: int, node_id: str) -> Progress:
        """The node's result, which is the one with the largest epoch. Raises `NotFound`."""
        query = select(*_columns(progress, Progress._fields))
        row = await self._row(query.where(progress.c.task_id == task_id, progress.c.node_id == node_id))
        return Progress(*_found(row, f"progress of node {node_id!r} of task {task_id}"))

    async def get_progress_list(self, task_id: int) -> list[Progress]:
        """The results of a task's nodes, by node; none if there is no such task."""
        query = select(*_columns(progress, Progress._fields)).where(progress.c.task_id == task_id)
        async with self._pool.connection() as connection:
            return [Progress(*row) for row in await connection.execute(query.order_by(progress.c.node_id))]

    async def delete_progress(self, task_id: int, node_id: str) -> None:
        """Forgets a node's result."""
        await self._run(delete(progress).where(progress.c.task_id == task_id, progress.c.node_id == node_id))

    async def _row(self, statement: Any) -> Any:
        async with self._pool.connection() as connection:
            return (await connection.execute(statement)).one_or_none()

    async def _run(self, statement: Any) -> None:
        async with self._pool.connection() as connection:
            await connection.execute(statement)


def _save(task_id: int, node_id: str, result: str, epoch: Epoch) -> Any:
    """Takes the task first, as the fold and a deletion do, so that none of them waits for another in a ring."""
    task = select(tasks.c.task_id).where(tasks.c.task_id == task_id).with_for_update(read=True, key_share=True).cte()
    values = {"node_id": node_id, "result": result, **_epochs(epoch)}
    row = select(task.c.task_id, *(literal(value, progress.c[name].type) for name, value in values.items()))
    new = upsert(progress).from_select(["task_id", *values], row)
    replaced = {name: new.excluded[name] for name in (*values, "event_id", "doc_id")}
    return new.on_conflict_do_update(
        index_elements=["task_id", "node_id"], set_=replaced, where=_older(progress, epoch)
    ).returning(progress.c.task_id)


def _epochs(epoch: Epoch) -> dict[str, int]:
    return {"global_epoch": epoch.global_epoch, "regional_epoch": epoch.regional_epoch}


def _columns(table: Table, names: tuple[str, ...]) -> list[Column[Any]]:
    return [table.c[name] for name in names]


def _older(table: Table, epoch: Epoch) -> ColumnElement[bool]:
    return tuple_(table.c.global_epoch, table.c.regional_epoch) < tuple_(epoch.global_epoch, epoch.regional_epoch)


def _found(row: Any, what: str) -> Any:
    if row is None:
        raise NotFound(f"there is no {what}")
    return row


def _same_or_stale(what: str, standing: Any, epoch: Epoch, same: bool) -> None:
    at = Epoch(standing.global_epoch, standing.regional_epoch)
    if not (same and at == epoch):
        raise StaleEpoch(f"{what} was written under epoch {at}; a write under {epoch} is refused")
