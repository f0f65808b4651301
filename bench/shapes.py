"""Descriptions of task graphs without work in them: what a node says is what its predecessors said."""

from __future__ import annotations

from typing import Any

Description = dict[str, Any]


def bag(model: str, count: int) -> Description:
    """`count` nodes that know nothing of each other."""
    return {"nodes": [_node(model, f"n{number}") for number in range(count)]}


def diamond(model: str, count: int) -> Description:
    """One node, `count` that read it, one that reads all of them."""
    middle = [_node(model, f"n{number}", "first") for number in range(count)]
    return {"nodes": [_node(model, "first"), *middle, _node(model, "last", *(each["id"] for each in middle))]}


def reduce(model: str, count: int) -> Description:
    """`count` nodes, and one that reads all of them."""
    nodes: list[Description] = bag(model, count)["nodes"]
    return {"nodes": [*nodes, _node(model, "last", *(each["id"] for each in nodes))]}


def chain(model: str, count: int) -> Description:
    """`count` nodes, each reads the one before."""
    return {"nodes": [_node(model, f"n{number}", *([f"n{number - 1}"] if number else [])) for number in range(count)]}


def _node(model: str, name: str, *read: str) -> Description:
    content = " ".join(f"${{{{ {each} }}}}" for each in read) or "no-op"
    return {"id": name, "model": model, "body": {"messages": [{"role": "user", "content": content}]}}
