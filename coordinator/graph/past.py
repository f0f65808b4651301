"""What became of a dispatch, by this owner or an earlier one. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from coordinator.graph.nodes import Node, NodeStatus
from coordinator.graph.references import ReferenceFailed
from coordinator.noderesult import NodeResult, decode_node_result
from store import NodeRow


@dataclass(frozen=True, slots=True)
class Past:
    """`attempt`: the dispatch's number, if known. `result`: None while it is in flight. `called`: by a worker."""

    node_id: str
    attempt: int | None
    result: NodeResult | None
    called: bool

    @property
    def for_good(self) -> bool:
        """Whether another call would fare no better, or would take more workers down."""
        return not self.called or (self.result is not None and self.result.outcome == "quarantined")

    def is_old(self, node: Node) -> bool:
        """Whether a failure is of a dispatch that the node has left behind, as far as that can be told."""
        if not self.called:
            return False
        if self.attempt is not None:
            return self.attempt < node.number
        return node.attempt > 0 and node.status is not NodeStatus.RUNNING


def heard(node_id: str, result: NodeResult, attempt: int | None) -> Past:
    """A result that was told. One whose body could not be made was not called."""
    return Past(node_id, attempt, result, called=not _is_ours(result))


def past_of(row: NodeRow) -> Past:
    """A row of the store. A result without a request is an owner's own."""
    result = decode_node_result(row.result) if row.result is not None else None
    called = row.request_id is not None and (result is None or not _is_ours(result))
    return Past(row.node_id, row.attempt, result, called)


def _is_ours(result: NodeResult) -> bool:
    return result.error is not None and result.error.get("code") == ReferenceFailed.CODE
