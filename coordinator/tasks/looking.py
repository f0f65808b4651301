"""Tasks as the store has them, shown as task objects."""

from __future__ import annotations

from typing import Any

from starlette.responses import JSONResponse, Response

from coordinator.graph.description import decode
from coordinator.graph.graph import Graph, NodeStatus
from coordinator.tasks import refusals
from coordinator.tasks.loading import load
from coordinator.tasks.views import TASK, etag, task_object
from core.errors import NotFound
from store import Store, TaskRow, TaskState

_STOPPED = {
    TaskState.FAILED: NodeStatus.SKIPPED,
    TaskState.CANCELLED: NodeStatus.CANCELLED,
    TaskState.EXPIRED: NodeStatus.EXPIRED,
}


class Looking:
    """Reads the store anew each time. Every method raises `StoreUnavailable`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def row(self, task_id: int) -> TaskRow:
        """The task. Raises `RequestRefused` 404."""
        try:
            return await self._store.task(task_id)
        except NotFound:
            raise refusals.not_found(f"task {TASK}{task_id}") from None

    async def graph(self, row: TaskRow) -> Graph:
        """How far the task has come."""
        graph, _ = (await load(self._store, [(row.task_id, row.description)]))[row.task_id]
        if graph.state is None and row.state in _STOPPED:
            graph.stop(_STOPPED[row.state])
        return graph

    async def task(self, task_id: int, *, nodes: bool) -> tuple[TaskRow, dict[str, Any]]:
        """The task and its object. Raises `RequestRefused` 404."""
        row = await self.row(task_id)
        graph = await self.graph(row) if nodes or row.state is TaskState.OPEN else None
        return row, task_object(row, decode(row.description), graph, nodes=nodes)


def response_of(row: TaskRow, told: dict[str, Any], status: int) -> Response:
    """A task object on its way out."""
    return JSONResponse(told, status, headers={"etag": f'"{etag(row)}"'})
