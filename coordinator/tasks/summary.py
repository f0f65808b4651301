"""How a task ended, as the store keeps it, and the errors that a coordinator itself gives. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from bus.messages import NO_USAGE, Usage
from coordinator.graph.graph import Graph

# The code of a request that was dropped before its deadline, which it could not have made.
UNREACHABLE = "deadline_unreachable"


class Summary(msgspec.Struct, frozen=True, omit_defaults=True):
    """`error`: the inside of an OpenAI error object. `progress`: how many nodes there are of each status."""

    usage: Usage = NO_USAGE
    error: dict[str, Any] | None = None
    progress: dict[str, int] = {}


decode_summary = msgspec.json.Decoder(Summary).decode


def summary_of(graph: Graph) -> str:
    """JSON text."""
    progress = {status.value: count for status, count in graph.counts().items()}
    return msgspec.json.encode(Summary(graph.usage, graph.error, progress)).decode()


def budget_spent() -> dict[str, Any]:
    """Why a task was stopped."""
    return _error("The task has used its budget; nodes that had not ended were not started.", "budget_exceeded")


def too_late() -> dict[str, Any]:
    """Why a task was stopped."""
    return _error("The task's deadline passed before its nodes had ended.", "deadline_exceeded")


def unreachable(node_id: str) -> dict[str, Any]:
    """Why a task was dropped."""
    return _error(f"Node '{node_id}' was not called: the task cannot make its deadline any more.", UNREACHABLE)


def _error(message: str, code: str) -> dict[str, Any]:
    return {"message": message, "type": "task_error", "param": None, "code": code}
