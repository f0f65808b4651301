"""Counts of one task: nodes by status, calls that are left by model, tokens. Pure."""

from __future__ import annotations

from collections import Counter

from bus.messages import NO_USAGE, Usage
from coordinator.graph.nodes import Node, NodeStatus, plus
from store import TaskState

# What a task is that has such a node, the worst first.
_ENDS = (
    (NodeStatus.FAILED, TaskState.FAILED),
    (NodeStatus.EXPIRED, TaskState.EXPIRED),
    (NodeStatus.CANCELLED, TaskState.CANCELLED),
)
WORST_FIRST = tuple(status for status, _ in _ENDS)


class Tally:
    """A node with instances counts as those."""

    def __init__(self) -> None:
        self.statuses: Counter[NodeStatus] = Counter()
        self.left: Counter[str] = Counter()
        self.usage = NO_USAGE
        self.usage_by_model: dict[str, Usage] = {}

    def add(self, node: Node) -> None:
        """A node that has not ended."""
        self.statuses[node.status] += 1
        self.left[node.spec.model] += 1

    def remove(self, node: Node) -> None:
        """A node that has not ended: its instances count from now on."""
        self.statuses[node.status] -= 1
        self.left[node.spec.model] -= 1

    def move(self, node: Node, status: NodeStatus) -> None:
        """The node is something else now."""
        self.statuses[node.status] -= 1
        self.statuses[status] += 1
        node.status = status
        if node.ended:
            self.left[node.spec.model] -= 1

    def use(self, node: Node, usage: Usage) -> None:
        """One call's tokens."""
        model = node.spec.model
        node.usage = plus(node.usage, usage)
        self.usage = plus(self.usage, usage)
        self.usage_by_model[model] = plus(self.usage_by_model.get(model), usage)

    @property
    def unfinished(self) -> int:
        """Nodes that have not ended."""
        return sum(self.left.values())

    @property
    def end(self) -> TaskState:
        """What the task is if nothing more happens."""
        return next((state for status, state in _ENDS if self.statuses[status]), TaskState.COMPLETED)
