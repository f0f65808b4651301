"""Whether the nodes of a description are right: their bodies, references, names and order. Pure."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec

from bus.operations import FIELDS, operation_of
from coordinator.graph import references
from coordinator.graph.references import BadReference, Place, Slot
from coordinator.graph.specs import DescriptionRefused, NodeSpec
from coordinator.texts import RIGHT, are_texts


def with_nodes(
    known: list[NodeSpec],
    added: list[NodeSpec],
    max_nodes: int,
    *,
    again: bool,
    given: Collection[str] = (),
) -> list[NodeSpec]:
    """All nodes, each with all that it depends on. `again`: one that is there may come once more as it is.
    `given`: names that references may have and that are no nodes.

    Raises `DescriptionRefused` with pointers into what was `added`.
    """
    specs = {spec.id: spec for spec in known}
    first = {}
    for number, spec in enumerate(added):
        checked = _checked(spec, ("nodes", number), given)
        there = specs.setdefault(spec.id, checked)
        if there is checked:
            first[spec.id] = number
        elif not again or there != checked:
            raise DescriptionRefused(("nodes", number, "id"), "Another node has this id; give each its own.")
    if len(specs) > max_nodes:
        raise DescriptionRefused(("nodes",), f"The task would have {len(specs)} nodes; at most {max_nodes} may be.")
    for node_id, number in first.items():
        _check_names(specs, specs[node_id], added[number], ("nodes", number))
    _check_order({node_id: specs[node_id] for node_id in first}, first)
    return list(specs.values())


def _checked(spec: NodeSpec, place: Place, given: Collection[str]) -> NodeSpec:
    if spec.id in references.RESERVED or spec.id in given:
        raise DescriptionRefused((*place, "id"), f"'{spec.id}' means something else in references; take another.")
    try:
        slots = references.find(spec.body)
    except BadReference as error:
        raise DescriptionRefused((*place, "body", *error.place), _sentence(str(error))) from None
    lists = _list_slots(spec, place)
    _check_body(spec.body, slots, (*place, "body"))
    if spec.for_each is None:
        _check_plain(slots, (*place, "body"))
    if not slots and not lists and not spec.depends_on:
        return spec
    named = (reference.name for slot in (*lists, *slots) for reference in slot.references if reference.kind == "node")
    nodes = (name for name in named if name not in given)
    return msgspec.structs.replace(spec, depends_on=list(dict.fromkeys((*spec.depends_on, *nodes))))


def _list_slots(spec: NodeSpec, place: Place) -> tuple[Slot, ...]:
    if spec.for_each is None:
        return ()
    try:
        slot = Slot(("for_each",), references.split(spec.for_each))
    except BadReference as error:
        raise DescriptionRefused((*place, "for_each"), _sentence(str(error))) from None
    if slot.only is None or slot.only.kind not in ("node", "document"):
        raise DescriptionRefused(
            (*place, "for_each"), "for_each is one reference to a list in an output, as in ${{ plan $.steps }}."
        )
    return (slot,)


def _check_body(body: dict[str, Any], slots: tuple[Slot, ...], place: Place) -> None:
    operation = operation_of(body)
    whole = {slot.place for slot in slots if slot.only is not None}
    if operation == "chat":
        _check_messages(body.get("messages"), whole, place)
    else:
        _check_texts(body, FIELDS[operation], whole, place)
    if (stream := body.get("stream")) is not None and stream is not False:
        raise DescriptionRefused((*place, "stream"), "The answers of nodes are read whole: leave stream out.")
    if not isinstance(body.get("model", ""), str):
        raise DescriptionRefused((*place, "model"), "model must be a string; it may be left out.")


def _check_messages(messages: Any, whole: set[Place], place: Place) -> None:
    if not isinstance(messages, list) or not messages:
        right = "messages must be a list with at least one message; other bodies have prompt or input."
        raise DescriptionRefused((*place, "messages"), right)
    for number, message in enumerate(messages):
        if not isinstance(message, dict) and ("messages", number) not in whole:
            raise DescriptionRefused(
                (*place, "messages", number), "A message must be an object, or one reference to an object."
            )


def _check_texts(body: dict[str, Any], field: str, whole: set[Place], place: Place) -> None:
    """What holds references to whole values is looked at when they are filled in."""
    open_yet = any(each[0] == field and len(each) > 1 for each in whole)
    if not open_yet and not are_texts(body[field]):
        raise DescriptionRefused((*place, field), f"{field} {RIGHT}.")


def _check_plain(slots: tuple[Slot, ...], place: Place) -> None:
    for slot in slots:
        if any(reference.kind in ("item", "index") for reference in slot.references):
            raise DescriptionRefused(
                (*place, *slot.place), "'item' and 'index' are there in nodes with for_each only; this one has none."
            )


def _check_names(specs: dict[str, NodeSpec], spec: NodeSpec, written: NodeSpec, place: Place) -> None:
    """`spec`: with all that it depends on; `written`: as it came."""
    missing = next((name for name in spec.depends_on if name not in specs), None)
    if missing is None:
        return
    if missing in written.depends_on:
        here: Place = ("depends_on", written.depends_on.index(missing))
    else:
        slots = ((("body", *slot.place), slot) for slot in references.find(spec.body))
        listed = ((("for_each",), slot) for slot in _list_slots(spec, place))
        here = next(
            found for found, slot in (*listed, *slots) if any(each.name == missing for each in slot.references)
        )
    raise DescriptionRefused((*place, *here), f"There is no node '{missing[:64]}' in this task.")


def _check_order(added: dict[str, NodeSpec], numbers: dict[str, int]) -> None:
    """Nodes that were there before cannot depend on new ones: a cycle is among those."""
    waits = {node_id: sum(each in added for each in spec.depends_on) for node_id, spec in added.items()}
    dependents: dict[str, list[str]] = {}
    for node_id, spec in added.items():
        for each in spec.depends_on:
            dependents.setdefault(each, []).append(node_id)
    free = [node_id for node_id, count in waits.items() if not count]
    for node_id in free:
        del waits[node_id]
        for dependent in dependents.get(node_id, ()):
            waits[dependent] -= 1
            if not waits[dependent]:
                free.append(dependent)
    if waits:
        _refuse_cycle(added, waits, numbers)


def _refuse_cycle(added: dict[str, NodeSpec], waits: dict[str, int], numbers: dict[str, int]) -> None:
    """Every node that waits depends on one that waits: going back from any of them leads into a cycle."""
    way: dict[str, None] = {}
    node_id = next(iter(waits))
    while node_id not in way:
        way[node_id] = None
        node_id = next(each for each in added[node_id].depends_on if each in waits)
    steps = list(way)
    cycle = steps[steps.index(node_id) :]
    shown = cycle if len(cycle) <= 10 else [*cycle[:9], "…"]
    raise DescriptionRefused(
        ("nodes", numbers[node_id]),
        f"These nodes wait for one another: {' → '.join([*shown, node_id])} (each depends on the next).",
    )


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
