"""What a node's call takes from the outputs of others: which documents, and the body made of them. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from bus.operations import FIELDS, operation_of
from coordinator.graph.nodes import Node
from coordinator.graph.outputs import Outputs, Unresolved, parsed, select, select_list
from coordinator.graph.references import Reference, ReferenceFailed, Slot, fill, find, split
from coordinator.texts import RIGHT, are_texts
from core.outputs import output_text

# Instances of one node; a longer list is refused by name.
MAX_INSTANCES = 10_000


class Inputs:
    """Of the nodes of one task, by id. `contents`: document number → text, of the documents that were asked for.

    `given`: values that references may lead to without being outputs of nodes, by name.
    """

    def __init__(self, nodes: Mapping[str, Node], given: Mapping[str, Any]) -> None:
        self._nodes = nodes
        self._given = given
        self._slots: dict[str, tuple[Slot, ...]] = {}

    def documents(self, node: Node) -> list[int]:
        """What the body needs."""
        return self._numbers(reference for slot in self._body_slots(node) for reference in slot.references)

    def list_documents(self, node: Node) -> list[int]:
        """What the list of a `for_each` node needs."""
        return self._numbers(iter([_list_reference(node)]))

    def body(self, node: Node, contents: Mapping[int, str]) -> dict[str, Any]:
        """The request body; its model is the node's unless it has one. Raises `ReferenceFailed`."""
        slots = self._body_slots(node)
        body = fill(node.spec.body, slots, lambda reference: self._value(node, reference, contents))
        _check(body)
        return {"model": node.spec.model, **body}

    def items(self, node: Node, contents: Mapping[int, str]) -> list[Any]:
        """The list of a `for_each` node. Raises `ReferenceFailed`."""
        try:
            items = self._list(node, _list_reference(node), contents)
        except Unresolved as error:
            raise ReferenceFailed("/for_each", str(error)) from None
        if not isinstance(items, list):
            raise ReferenceFailed("/for_each", "what it finds is not a list")
        if len(items) > MAX_INSTANCES:
            raise ReferenceFailed("/for_each", f"its list has {len(items)} items; at most {MAX_INSTANCES} may be")
        return items

    def _body_slots(self, node: Node) -> Sequence[Slot]:
        if node.spec.id not in self._slots:
            self._slots[node.spec.id] = find(node.spec.body)
        return self._slots[node.spec.id]

    def _list(self, node: Node, reference: Reference, contents: Mapping[int, str]) -> Any:
        """Of a text, what it holds; of a path that may find many, all that it finds, be it one or none."""
        named = self._nodes.get(reference.name)
        if named is not None and named.is_list:
            return self._value(node, reference, contents)
        whole = self._value(node, replace(reference, path="$"), contents)
        return whole if reference.path is None else select_list(reference.path, whole)

    def _numbers(self, needed: Iterator[Reference]) -> list[int]:
        found: dict[int, None] = {}
        for reference in needed:
            if reference.kind == "document":
                found[reference.number] = None
            elif reference.kind == "node" and reference.name not in self._given:
                for each in _outputs_of(self._nodes[reference.name]):
                    if each.document is not None:
                        found[each.document] = None
        return list(found)

    def _value(self, node: Node, reference: Reference, contents: Mapping[int, str]) -> Any:
        match reference.kind:
            case "index":
                return node.index
            case "item":
                return node.item if reference.path is None else select(reference.path, node.item)
            case "document":
                content = _content(contents, reference.number)
                return content if reference.path is None else select(reference.path, parsed(content))
            case "node" if reference.name in self._given:
                given = self._given[reference.name]
                return given if reference.path is None else select(reference.path, given)
            case "node":
                named = self._nodes[reference.name]
                values = [_output(each, reference, contents) for each in _outputs_of(named)]
                return Outputs(values) if named.is_list else values[0]


def _check(body: Mapping[str, Any]) -> None:
    """What references have led to may have any form."""
    operation = operation_of(body)
    field = FIELDS[operation]
    if operation != "chat":
        if not are_texts(body[field]):
            raise ReferenceFailed(f"/{field}", f"{field} {RIGHT}")
        return
    for number, message in enumerate(body[field]):
        if not isinstance(message, dict):
            raise ReferenceFailed(f"/{field}/{number}", "a message must be an object")


def _outputs_of(named: Node) -> Sequence[Node]:
    return [named] if named.instances is None else named.instances


def _list_reference(node: Node) -> Reference:
    slots = split(node.spec.for_each or "")
    assert isinstance(slots[0], Reference)
    return slots[0]


def _output(node: Node, reference: Reference, contents: Mapping[int, str]) -> Any:
    if node.document is None:
        raise Unresolved(f"node '{node.id}' has no response")
    response = _content(contents, node.document)
    if reference.whole:
        return parsed(response) if reference.path is None else select(reference.path, parsed(response))
    text = output_text(response)
    return text if reference.path is None else select(reference.path, parsed(text))


def _content(contents: Mapping[int, str], number: int) -> str:
    if number not in contents:
        raise Unresolved(f"there is no document doc_{number}")
    return contents[number]
