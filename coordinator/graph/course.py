"""How the nodes of one task move from state to state, each pushed on by those before it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from coordinator.graph.nodes import Node, NodeStatus, status_of
from coordinator.graph.past import Past
from coordinator.graph.specs import NodeSpec
from coordinator.graph.tally import Tally
from coordinator.graph.way import in_order
from coordinator.noderesult import NodeResult


class Course:
    """`nodes`: by id, instances too. `wanted`: `for_each` nodes that wait for their lists alone. `lost`: some node
    can complete no more.
    """

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.tally = Tally()
        self.running: dict[str, Node] = {}
        self.wanted: dict[str, Node] = {}
        self.lost = False
        self._ready: dict[str, Node] = {}

    def add(self, specs: Sequence[NodeSpec], *, dead: bool) -> list[Node]:
        """The new nodes, each after those that it depends on. `dead`: the task does not go on."""
        added = [Node(spec) for spec in specs]
        self.nodes.update((node.id, node) for node in added)
        for node in added:
            self.tally.add(node)
            for each in node.spec.depends_on:
                named = self.nodes[each]
                named.dependents.append(node)
                node.pending += named.status is not NodeStatus.COMPLETED
        ordered = in_order(added)
        for node in ordered:
            if dead or any(self.nodes[each].lost for each in node.spec.depends_on):
                self.move(node, NodeStatus.SKIPPED)
            elif not node.pending:
                self._release(node)
        return ordered

    def take_ready(self) -> list[str]:
        """What has become READY since this was called last."""
        ready = [node.id for node in self._ready.values() if node.status is NodeStatus.READY]
        self._ready.clear()
        return ready

    def fly(self, node: Node, attempt: int) -> None:
        """This dispatch of the node is in flight."""
        if not node.ended and not node.is_list:
            node.attempt = attempt
            self.move(node, NodeStatus.RUNNING)

    def settle(self, node: Node, result: NodeResult, past: Past) -> bool:
        """Whether the result changes anything."""
        status = status_of(result)
        completed = status is NodeStatus.COMPLETED
        if node.ended or node.instances or (completed and node.is_list) or (not completed and past.is_old(node)):
            return False
        if past.called:
            node.attempt = node.number if past.attempt is None else max(node.attempt, past.attempt)
        node.document, node.error = result.document, result.error
        if result.seconds is not None:
            node.seconds = (node.seconds or 0.0) + result.seconds
        self.tally.use(node, result.usage)
        if status is NodeStatus.FAILED and not past.for_good and node.attempt <= node.spec.retries:
            self._again(node)
        else:
            self.end(node, status)
        return True

    def expand(self, node: Node, items: Sequence[Any]) -> None:
        """A wanted node becomes its instances."""
        node.instances = [Node(node.spec, node, index, item) for index, item in enumerate(items)]
        if not items:
            self.end(node, NodeStatus.COMPLETED)
            return
        del self.wanted[node.id]
        self.tally.remove(node)
        node.status = NodeStatus.RUNNING
        node.left = len(items)
        for instance in node.instances:
            self.nodes[instance.id] = instance
            self.tally.add(instance)
            self._release(instance)

    def end(self, node: Node, status: NodeStatus) -> None:
        """The node has ended so."""
        self.move(node, status)
        if status is not NodeStatus.COMPLETED:
            self._lose(node)
        elif node.group is None:
            self._completed(node)
        if (group := node.group) is not None:
            self._instance_ended(group, status)

    def halt(self, status: NodeStatus) -> None:
        """Everything that has not ended is `status`; what is RUNNING is not SKIPPED."""
        for node in self.nodes.values():
            if node.ended or (status is NodeStatus.SKIPPED and node.status is NodeStatus.RUNNING):
                continue
            if node.instances:
                node.status = status
            else:
                self.move(node, status)

    def move(self, node: Node, status: NodeStatus) -> None:
        """The node is something else now."""
        self.tally.move(node, status)
        self.running.pop(node.id, None)
        if status is NodeStatus.RUNNING:
            self.running[node.id] = node
        if node.ended:
            self.wanted.pop(node.id, None)

    def _again(self, node: Node) -> None:
        self.move(node, NodeStatus.WAITING)
        if not node.pending:
            self._release(node)

    def _release(self, node: Node) -> None:
        """Everything that the node depends on has completed."""
        if node.status is not NodeStatus.WAITING:
            return
        if node.is_list:
            self.wanted[node.id] = node
        else:
            self.move(node, NodeStatus.READY)
            self._ready[node.id] = node

    def _instance_ended(self, group: Node, status: NodeStatus) -> None:
        group.left -= 1
        if status is not NodeStatus.COMPLETED and not group.broken:
            group.broken = True
            self._lose(group)
        if not group.left:
            group.status = NodeStatus.FAILED if group.broken else NodeStatus.COMPLETED
            if not group.broken:
                self._completed(group)

    def _completed(self, node: Node) -> None:
        for dependent in node.dependents:
            dependent.pending -= 1
            if not dependent.pending:
                self._release(dependent)

    def _lose(self, node: Node) -> None:
        """What depends on the node cannot run any more."""
        self.lost = True
        lost = [node]
        for each in lost:
            for dependent in each.dependents:
                if dependent.status is NodeStatus.WAITING:
                    self.move(dependent, NodeStatus.SKIPPED)
                    lost.append(dependent)
