"""Small graphs, and what becomes of their nodes."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from bus.messages import Outcome, Usage
from coordinator.graph.description import Description, parse
from coordinator.graph.graph import Graph, NodeStatus
from coordinator.noderesult import NodeResult
from store import NodeRow


def node(node_id: str, content: str = "hi", **fields: Any) -> dict[str, Any]:
    return {"id": node_id, "model": "m", "body": {"messages": [{"role": "user", "content": content}]}} | fields


def description(*nodes: dict[str, Any], **fields: Any) -> Description:
    return parse(json.dumps({"nodes": nodes} | fields).encode(), max_nodes=20_000)


def graph(*nodes: dict[str, Any], **fields: Any) -> Graph:
    return Graph(description(*nodes, **fields))


def result(outcome: Outcome = "completed", document: int | None = None, tokens: int = 1) -> NodeResult:
    error = None if outcome == "completed" else {"message": "why", "type": "server_error", "param": None, "code": "c"}
    status = 200 if outcome == "completed" else 500
    return NodeResult(outcome, status, Usage(tokens, tokens, 2 * tokens), error=error, document=document)


def answer(content: str) -> str:
    return json.dumps({"choices": [{"message": {"content": content}}]})


def run(graph: Graph, *node_ids: str, outcome: Outcome = "completed") -> None:
    """Each is dispatched and has its result."""
    for node_id in node_ids:
        graph.dispatched(node_id)
        assert graph.settle(node_id, result(outcome))


def statuses(graph: Graph) -> dict[str, NodeStatus]:
    return {view.id: view.status for view in graph.nodes()}


def row(
    node_id: str,
    outcome: Outcome | None = None,
    *,
    attempt: int = 1,
    document: int | None = None,
    request_id: str | None = "r",
) -> NodeRow:
    made = None if outcome is None else msgspec.json.encode(result(outcome, document)).decode()
    return NodeRow(
        task_id=1, node_id=node_id, request_id=request_id, model="m", attempt=attempt, dispatched_at=0.0, result=made
    )


def planned(*, body: str = "${{ item }} ${{ index }}", path: str = " $.steps", **fields: Any) -> Graph:
    made = graph(
        node("plan"),
        node("map", body, for_each="${{ plan" + path + " }}", **fields),
        node("sum", "All: ${{ map }}"),
    )
    made.settle("plan", result(document=1))
    made.take_ready()
    return made


def contents(*items: Any) -> dict[int, str]:
    return {1: answer(json.dumps({"steps": items})), 2: answer("A"), 3: answer("B")}
