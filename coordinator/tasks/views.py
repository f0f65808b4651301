"""Task graphs as the API shows them. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from bus.messages import Usage
from coordinator.graph.description import Description
from coordinator.graph.graph import Graph, NodeView
from coordinator.noderesult import NodeResult
from coordinator.tasks.summary import Summary, decode_summary
from store import TaskRow, TaskState

TASK, DOCUMENT = "task_", "doc_"


def etag(row: TaskRow) -> str:
    """The task's epoch: who changes the task names the one that he has seen."""
    return f"{row.epoch.global_epoch}.{row.epoch.regional_epoch}"


def task_object(row: TaskRow, description: Description, graph: Graph | None, *, nodes: bool) -> dict[str, Any]:
    """A task. `graph`: how far it has come; None where only what the row itself tells is asked for."""
    ended = decode_summary(row.summary) if row.summary is not None else Summary()
    told = {
        "id": f"{TASK}{row.task_id}",
        "object": "task",
        "status": _status(row),
        "user": row.user,
        "created_at": row.created_at,
        "finished_at": row.finished_at,
        "priority": row.priority,
        "deadline": row.deadline,
        "epoch": etag(row),
        "open": description.open,
        "metadata": description.metadata,
        "pipeline": None if description.pipeline is None else description.pipeline.name,
        "progress": _progress(graph, ended),
        "usage": _usage(graph.usage if graph is not None else ended.usage),
        "error": ended.error,
    }
    if nodes and graph is not None:
        told["nodes"] = [node_object(node) for node in graph.nodes()]
    return told


def node_object(node: NodeView) -> dict[str, Any]:
    """A node of a task."""
    return {
        "id": node.id,
        "model": node.model,
        "status": node.status,
        "attempts": node.attempts,
        "document": None if node.document is None else f"{DOCUMENT}{node.document}",
        "usage": None if node.usage is None else _usage(node.usage),
        "error": node.error,
        "seconds": node.seconds,
    }


def event_data(task_id: int, node_id: str, status: str, result: NodeResult | None, at: float) -> bytes:
    """What the stream of events tells of a node, or of the whole task where `node_id` is empty."""
    told: dict[str, Any] = {"task": f"{TASK}{task_id}", "status": status, "at": at}
    if node_id:
        told["node"] = node_id
    if result is not None:
        told["document"] = None if result.document is None else f"{DOCUMENT}{result.document}"
        told["usage"] = _usage(result.usage)
        told["error"] = result.error
    return msgspec.json.encode(told)


def _status(row: TaskRow) -> str:
    if row.state is not TaskState.OPEN:
        return row.state.value
    return "running" if row.running else "queued"


def _progress(graph: Graph | None, ended: Summary) -> dict[str, int]:
    counts = (
        {status.value: count for status, count in graph.counts().items()} if graph is not None else ended.progress
    )
    return {"total": sum(counts.values()), **counts}


def _usage(usage: Usage) -> dict[str, int]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }
