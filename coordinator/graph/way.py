"""How long a task still takes: its longest way (critical path) and the sum of its work. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from coordinator.graph.nodes import Node


class Way:
    """Of the nodes of one task; the instances of a node count as that node.

    A node's tail is the longest way from it to the end, itself included, in seconds. What comes after a node that has
    not ended has not ended either: tails change with the graph and what is expected, never with its progress.
    """

    def __init__(self) -> None:
        self._order: list[Node] = []
        self._expected: Callable[[str], float] = lambda model: 1.0
        self._seconds: dict[str, float] = {}
        self._longest: list[Node] = []
        self._first = 0
        self._stale = True

    def add(self, nodes: Sequence[Node]) -> None:
        """Nodes in an order in which each comes after those that it depends on."""
        self._order += nodes
        self._stale = True

    def weigh(self, expected: Callable[[str], float]) -> None:
        """`expected`: seconds of a call of a model; one second for each until this is called."""
        self._expected = expected
        self._stale = True

    def tail(self, node: Node) -> float:
        """Seconds."""
        self._measure()
        return (node.group or node).tail

    @property
    def path(self) -> float:
        """The longest tail of what has not ended, in seconds."""
        self._measure()
        while self._first < len(self._longest) and self._longest[self._first].ended:
            self._first += 1
        return self._longest[self._first].tail if self._first < len(self._longest) else 0.0

    def work(self, left: Mapping[str, int]) -> float:
        """Seconds of so many calls of each model, one after the other."""
        self._measure()
        return sum((self._seconds[model] * count for model, count in left.items()), 0.0)

    def _measure(self) -> None:
        """Again, where something has changed: once for many changes."""
        if not self._stale:
            return
        models = {node.spec.model for node in self._order}
        self._seconds = {model: self._expected(model) for model in models}
        for node in reversed(self._order):
            after = max((dependent.tail for dependent in node.dependents), default=0.0)
            node.tail = self._seconds[node.spec.model] + after
        self._longest = sorted(self._order, key=lambda node: -node.tail)
        self._first = 0
        self._stale = False


def in_order(nodes: Sequence[Node]) -> list[Node]:
    """Each after those of `nodes` that it depends on. There is no cycle."""
    among = {node.spec.id for node in nodes}
    waits = {node.spec.id: sum(each in among for each in node.spec.depends_on) for node in nodes}
    ordered = [node for node in nodes if not waits[node.spec.id]]
    for node in ordered:
        for dependent in node.dependents:
            waits[dependent.spec.id] -= 1
            if not waits[dependent.spec.id]:
                ordered.append(dependent)
    return ordered
