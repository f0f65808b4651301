"""A task's graph as a program writes it down, and the description that the gateway takes. Pure.

    graph = Graph(user="alice")
    plan = graph.node("plan", model="mock", prompt="Plan a trip.")
    graph.node("sum", model="mock", prompt=f"Sum up: {plan}")    # str(plan) refers to its output

The gateway checks a description; nothing is checked twice here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

ITEM = "${{ item }}"
INDEX = "${{ index }}"


def item(path: str) -> str:
    """A part of the list's item in a `for_each` node, by JSONPath: `item("$.name")`."""
    return f"${{{{ item {path} }}}}"


def literal(text: str) -> str:
    """Text in which nothing is a reference, whoever wrote it."""
    return text.replace("${{", "$${{")


@dataclass(frozen=True, slots=True)
class Node:
    """A node that other nodes may refer to. As text it is the reference to its output."""

    id: str

    def __str__(self) -> str:
        return f"${{{{ {self.id} }}}}"

    def json(self, path: str) -> str:
        """A part of its output, which is a JSON text, by JSONPath: `plan.json("$.steps[0]")`."""
        return f"${{{{ {self.id} {path} }}}}"

    def response(self, path: str) -> str:
        """A part of its whole response, by JSONPath: `plan.response("$.usage.total_tokens")`."""
        return f"${{{{ {self.id}.response {path} }}}}"


@dataclass(slots=True, kw_only=True)
class Graph:
    """A task. `deadline_seconds` from its submission; `budget`: {"tokens": …, "money": …}.

    `priority`: higher goes first. `open`: the task does not end with its nodes, more may be added until it is closed.
    """

    user: str = ""
    priority: int = 0
    deadline_seconds: float | None = None
    budget: dict[str, float] | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    on_failure: Literal["stop", "continue"] = "stop"
    open: bool = False
    nodes: list[dict[str, Any]] = field(default_factory=list)

    def node(
        self,
        id: str,
        *,
        model: str,
        prompt: str | None = None,
        depends_on: Iterable[Node | str] = (),
        for_each: Node | str | None = None,
        retries: int = 0,
        deadline_seconds: float | None = None,
        **body: Any,
    ) -> Node:
        """Adds a node. `prompt`: one user message, instead of `messages` in `body`, the rest of the OpenAI request.

        `for_each`: a reference to a list; the node runs once for each of its items. `deadline_seconds` from dispatch.
        """
        optional = {
            "depends_on": [each.id if isinstance(each, Node) else each for each in depends_on],
            "for_each": None if for_each is None else str(for_each),
            "retries": retries,
            "deadline_seconds": deadline_seconds,
        }
        given = {name: value for name, value in optional.items() if value}
        self.nodes.append({"id": id, "model": model, "body": _body(body, prompt), **given})
        return Node(id)

    def description(self) -> dict[str, Any]:
        """What `POST /v1/tasks` takes."""
        whole = {
            "nodes": self.nodes,
            "user": self.user,
            "priority": self.priority,
            "deadline_seconds": self.deadline_seconds,
            "budget": self.budget,
            "metadata": self.metadata,
            "on_failure": self.on_failure,
            "open": self.open,
        }
        return {name: value for name, value in whole.items() if value or name == "nodes"}


def description_of(written: Graph | Mapping[str, Any]) -> dict[str, Any]:
    """The description of a graph, or of what a file holds, where a node may have `prompt` in place of messages."""
    if isinstance(written, Graph):
        return written.description()
    nodes = written.get("nodes")
    if not isinstance(nodes, list):
        return dict(written)
    return {**written, "nodes": [_written(node) for node in nodes]}


def _written(node: Any) -> Any:
    if not isinstance(node, dict) or node.get("prompt") is None or not isinstance(node.get("body", {}), dict):
        return node
    rest = {name: value for name, value in node.items() if name != "prompt"}
    return {**rest, "body": _body(rest.get("body", {}), node["prompt"])}


def _body(body: dict[str, Any], prompt: str | None) -> dict[str, Any]:
    return body if prompt is None else {"messages": [{"role": "user", "content": prompt}], **body}
