"""One node of a task and how far it has come. Pure.

WAITING ─► READY      everything that it depends on has completed
WAITING ─► RUNNING    an earlier owner has dispatched it; what it depends on is not known here yet
WAITING ─► COMPLETED  the same, and its result has come; or its list is empty
WAITING ─► FAILED     the same; or its list is none
WAITING ─► CANCELLED  the task was cancelled
WAITING ─► EXPIRED    the task's deadline passed
WAITING ─► SKIPPED    something that it depends on did not complete, or the task has failed
READY ─► RUNNING      it was dispatched
READY ─► COMPLETED    an earlier owner had dispatched it, and its result has come
READY ─► FAILED       the same; or its body cannot be made
READY ─► CANCELLED    as above
READY ─► EXPIRED      as above
READY ─► SKIPPED      the task has failed
RUNNING ─► READY      its call failed and may be made again
RUNNING ─► WAITING    the same, and what it depends on is not known here yet
RUNNING ─► COMPLETED  its result has come
RUNNING ─► FAILED     its result has come
RUNNING ─► CANCELLED  its result has come, or the task was cancelled
RUNNING ─► EXPIRED    its result has come, or the task's deadline passed
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from bus.messages import NO_USAGE, Usage
from coordinator.graph.specs import NodeSpec
from coordinator.noderesult import NodeResult


class NodeStatus(StrEnum):
    """Where a node stands; see the drawing."""

    WAITING = "waiting"
    READY = "ready"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    SKIPPED = "skipped"


_ENDS = frozenset({NodeStatus.COMPLETED, NodeStatus.FAILED, NodeStatus.CANCELLED, NodeStatus.EXPIRED})
MOVES: dict[NodeStatus, frozenset[NodeStatus]] = {
    NodeStatus.WAITING: _ENDS | {NodeStatus.READY, NodeStatus.RUNNING, NodeStatus.SKIPPED},
    NodeStatus.READY: _ENDS | {NodeStatus.RUNNING, NodeStatus.SKIPPED},
    NodeStatus.RUNNING: _ENDS | {NodeStatus.READY, NodeStatus.WAITING},
}
_ENDED = frozenset(NodeStatus) - frozenset(MOVES)


class NodeView(msgspec.Struct, frozen=True, kw_only=True):
    """A node as it is shown. `attempts`: dispatches. `usage`: of all of them that have a result."""

    id: str
    model: str
    status: NodeStatus
    attempts: int
    document: int | None
    usage: Usage | None
    error: dict[str, Any] | None
    seconds: float | None


class Node:
    """A node; one with `for_each` has `instances` once its list is known. An instance has a `group`, `index`, `item`.

    `attempt`: dispatches so far. `pending`: how many of those that it depends on have not completed. `left`:
    instances that have not ended. `broken`: an instance did not complete. `tail`: see `way`.
    """

    __slots__ = (
        "attempt",
        "broken",
        "dependents",
        "document",
        "error",
        "group",
        "id",
        "index",
        "instances",
        "item",
        "left",
        "pending",
        "seconds",
        "spec",
        "status",
        "tail",
        "usage",
    )

    def __init__(self, spec: NodeSpec, group: Node | None = None, index: int = 0, item: Any = None) -> None:
        self.spec = spec
        self.group = group
        self.index = index
        self.item = item
        self.id = spec.id if group is None else f"{spec.id}[{index}]"
        self.status = NodeStatus.WAITING
        self.attempt = 0
        self.pending = 0
        self.dependents: list[Node] = []
        self.instances: list[Node] | None = None
        self.left = 0
        self.broken = False
        self.document: int | None = None
        self.usage: Usage | None = None
        self.error: dict[str, Any] | None = None
        self.seconds: float | None = None
        self.tail = 0.0

    @property
    def is_list(self) -> bool:
        """Whether it is called once for each item of a list, and never itself."""
        return self.spec.for_each is not None and self.group is None

    @property
    def stands_for(self) -> list[Node]:
        """Its instances, if it has any; else itself."""
        return self.instances or [self]

    @property
    def ended(self) -> bool:
        """For ever."""
        return self.status in _ENDED

    @property
    def lost(self) -> bool:
        """Whether it can complete no more."""
        return self.broken or (self.ended and self.status is not NodeStatus.COMPLETED)

    @property
    def number(self) -> int:
        """Of its running dispatch, else of the next, from 1."""
        return self.attempt if self.status is NodeStatus.RUNNING else self.attempt + 1

    def view(self) -> NodeView:
        """As it stands."""
        return NodeView(
            id=self.id,
            model=self.spec.model,
            status=self.status,
            attempts=self.attempt,
            document=self.document,
            usage=self.usage,
            error=self.error,
            seconds=self.seconds,
        )


def status_of(result: NodeResult) -> NodeStatus:
    """What a node is with this result, unless it is called again."""
    if result.outcome in ("completed", "cancelled", "expired"):
        return NodeStatus(result.outcome)
    return NodeStatus.FAILED


def plus(one: Usage | None, other: Usage) -> Usage:
    """The sum of two usages; details are left out."""
    one = one or NO_USAGE
    return Usage(
        one.prompt_tokens + other.prompt_tokens,
        one.completion_tokens + other.completion_tokens,
        one.total_tokens + other.total_tokens,
    )
