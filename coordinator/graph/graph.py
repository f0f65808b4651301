"""One task's nodes: what may run next, what has become of each, when the task has ended. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from bus.messages import Usage
from coordinator.graph.course import Course
from coordinator.graph.description import INPUT, Description, NodeSpec
from coordinator.graph.inputs import Inputs
from coordinator.graph.nodes import Node, NodeStatus, NodeView, status_of
from coordinator.graph.past import Past, heard, past_of
from coordinator.graph.references import ReferenceFailed
from coordinator.graph.tally import WORST_FIRST
from coordinator.graph.way import Way
from coordinator.noderesult import NodeResult
from store import NodeRow, TaskState

__all__ = ["Graph", "NodeStatus", "NodeView", "status_of"]

_STOPPED = {
    NodeStatus.CANCELLED: TaskState.CANCELLED,
    NodeStatus.EXPIRED: TaskState.EXPIRED,
    NodeStatus.SKIPPED: TaskState.FAILED,
}


class Graph:
    """Nodes are named by their ids, instances of `for_each` nodes as in `map[3]`; names that are not there are a
    `KeyError`, save for `settle`.
    """

    def __init__(self, description: Description) -> None:
        self.description = description
        self._course = Course()
        self._nodes = self._course.nodes
        self._tally = self._course.tally
        pipeline = description.pipeline
        self._inputs = Inputs(self._nodes, {INPUT: pipeline.input} if pipeline is not None else {})
        self._way = Way()
        # What came of instances that are not there yet, by node.
        self._early: dict[str, dict[str, Past]] = {}
        self._ended: TaskState | None = None
        self._error: dict[str, Any] | None = None
        self._add(description.nodes)

    def restore(self, rows: Iterable[NodeRow]) -> None:
        """What was dispatched and settled before, in any order."""
        for row in rows:
            self._apply(past_of(row))
        self._check()

    def take_ready(self) -> list[str]:
        """What has become READY since this was called last."""
        return self._course.take_ready()

    def dispatched(self, node_id: str) -> None:
        """A READY node is RUNNING now. Of another that is no change: a result was faster."""
        node = self._nodes[node_id]
        if node.status is NodeStatus.READY:
            self._course.fly(node, node.number)

    def attempt(self, node_id: str) -> int:
        """The number of the running dispatch, else of the next, from 1."""
        return self._nodes[node_id].number

    def settle(self, node_id: str, result: NodeResult, attempt: int | None = None) -> bool:
        """A node's result, whoever dispatched it; whether that changes anything. `attempt`: of which dispatch, where
        that is known: without it, a failure that is told twice may count for the dispatch after it.
        """
        changed = self._apply(heard(node_id, result, attempt))
        self._check()
        return changed

    def fail(self, node_id: str, error: dict[str, Any]) -> None:
        """The node cannot be called. `error`: the inside of an OpenAI error object."""
        node = self._nodes[node_id]
        if not node.ended and not node.instances:
            node.error = error
            self._course.end(node, NodeStatus.FAILED)
            self._check()

    def wanted_lists(self) -> list[str]:
        """The `for_each` nodes whose lists are known and that have no instances yet."""
        return list(self._course.wanted)

    def list_sources(self, node_id: str) -> list[int]:
        """The documents that hold the list."""
        return self._inputs.list_documents(self._nodes[node_id])

    def expand(self, node_id: str, contents: Mapping[int, str]) -> None:
        """Makes the instances of a wanted node. `contents`: document → text. Without a list, the node is FAILED."""
        node = self._course.wanted.get(node_id)
        if node is None:
            return
        try:
            items = self._inputs.items(node, contents)
        except ReferenceFailed as error:
            self.fail(node_id, error.error)
            return
        self._course.expand(node, items)
        for past in self._early.pop(node_id, {}).values():
            self._apply(past)
        self._check()

    def documents(self, node_id: str) -> list[int]:
        """The documents that `body` needs."""
        return self._inputs.documents(self._nodes[node_id])

    def body(self, node_id: str, contents: Mapping[int, str]) -> dict[str, Any]:
        """The request's body; it shares parts with the description. Raises `ReferenceFailed`."""
        return self._inputs.body(self._nodes[node_id], contents)

    def revise(self, description: Description) -> None:
        """The description with nodes added, open or closed."""
        self.description = description
        self._add([spec for spec in description.nodes if spec.id not in self._nodes])

    def stop(self, status: NodeStatus, error: dict[str, Any] | None = None) -> None:
        """Whatever has not ended is `status`: CANCELLED, EXPIRED, or SKIPPED (the task has failed: what is RUNNING
        stays so until its result comes). `error`: why, the inside of an OpenAI error object.
        """
        if self.state is None:
            self._error = error
            self._halt(_STOPPED[status], status)

    @property
    def state(self) -> TaskState | None:
        """How the task has ended: as the worst of its nodes, unless it was stopped. None while it goes on."""
        if self._ended is None and (self.description.open or self._tally.unfinished):
            return None
        return self._ended or self._tally.end

    @property
    def error(self) -> dict[str, Any] | None:
        """Which node the task failed by, and why: the inside of an OpenAI error object."""
        if self._error is not None or self.state in (None, TaskState.COMPLETED):
            return self._error
        bad = (node for status in WORST_FIRST for node in self._shown() if node.status is status)
        return next((_error_of(node) for node in bad), None)

    @property
    def usage(self) -> Usage:
        """Of all calls that have a result."""
        return self._tally.usage

    @property
    def usage_by_model(self) -> Mapping[str, Usage]:
        """The same, for prices."""
        return self._tally.usage_by_model

    @property
    def size(self) -> int:
        """Nodes; one with instances counts as those."""
        return self._tally.statuses.total()

    def counts(self) -> dict[NodeStatus, int]:
        """Nodes of each status."""
        return {status: self._tally.statuses[status] for status in NodeStatus}

    def nodes(self) -> Iterator[NodeView]:
        """Every node as it stands, in the order of the description; in place of a node its instances."""
        return (node.view() for node in self._shown())

    def status(self, node_id: str) -> NodeStatus:
        """Where a node stands."""
        return self._nodes[node_id].status

    def spec(self, node_id: str) -> NodeSpec:
        """A node as it is described."""
        return self._nodes[node_id].spec

    def models(self) -> set[str]:
        """All models of the task."""
        return set(self._tally.left)

    def running(self) -> list[str]:
        """What is in flight."""
        early = [past for pasts in self._early.values() for past in pasts.values()]
        return [*self._course.running, *(past.node_id for past in early if past.result is None)]

    def weigh(self, expected: Callable[[str], float]) -> None:
        """`expected`: seconds of a call of a model."""
        self._way.weigh(expected)

    @property
    def path(self) -> float:
        """The longest way from what has not ended to the end, in seconds."""
        return self._way.path

    @property
    def work(self) -> float:
        """The sum of what has not ended, in seconds."""
        return self._way.work(self._tally.left)

    def tail(self, node_id: str) -> float:
        """The longest way from this node to the end, itself included, in seconds."""
        return self._way.tail(self._nodes[node_id])

    def _add(self, specs: Sequence[NodeSpec]) -> None:
        self._way.add(self._course.add(specs, dead=self._ended is not None))

    def _apply(self, past: Past) -> bool:
        node = self._nodes.get(past.node_id)
        if node is None:
            self._keep_early(past)
            return False
        if past.result is not None:
            return self._course.settle(node, past.result, past)
        self._course.fly(node, past.attempt or 1)
        return True

    def _keep_early(self, past: Past) -> None:
        name = past.node_id.partition("[")[0]
        node = self._nodes.get(name)
        if node is not None and node.is_list and node.instances is None:
            self._early.setdefault(name, {})[past.node_id] = past

    def _check(self) -> None:
        """Ends a task that is not to go on after a failure; instances that ran are made before."""
        stops = self._course.lost and self._ended is None and self.description.on_failure == "stop"
        if stops and not any(name in self._early for name in self._course.wanted):
            self._halt(self._tally.end, NodeStatus.SKIPPED)

    def _halt(self, state: TaskState, status: NodeStatus) -> None:
        self._ended = state
        self._course.halt(status)

    def _shown(self) -> Iterator[Node]:
        for spec in self.description.nodes:
            yield from self._nodes[spec.id].stands_for


def _error_of(node: Node) -> dict[str, Any]:
    error = node.error or {"message": "", "type": "server_error", "code": None}
    told = f": {error['message']}" if error.get("message") else "."
    return {**error, "message": f"Node '{node.id}' {_WHAT[node.status]}{told}", "param": node.id}


_WHAT = {
    NodeStatus.FAILED: "failed",
    NodeStatus.EXPIRED: "did not end before its deadline",
    NodeStatus.CANCELLED: "was cancelled",
}
