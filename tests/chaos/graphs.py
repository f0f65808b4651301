"""Task graphs of all kinds, and what each of their nodes has to say in the end. Pure."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.double.answers import SAY

# The provider fails now and then; a node that fails so often in a row ends its task.
RETRIES = 8


@dataclass(frozen=True)
class Planned:
    """A task. `says`: the output of each node; None where the graph is wrong in a way that only a run can show."""

    description: dict[str, Any]
    says: dict[str, str] | None


def plan(seed: int, number: int, model: str) -> Planned:
    """The task of that number."""
    rng = random.Random(f"{seed}/{number}")
    nodes, says = rng.choice(KINDS)(rng, f"t{number}")
    description = {
        "nodes": [{"model": model, "retries": RETRIES, **node} for node in nodes],
        "user": rng.choice("abc"),
    }
    return Planned(description, says)


Made = tuple[list[dict[str, Any]], dict[str, str] | None]


def _node(name: str, text: str, **fields: Any) -> dict[str, Any]:
    return {"id": name, "body": {"messages": [{"role": "user", "content": SAY + text}]}, **fields}


def _chain(rng: random.Random, tag: str) -> Made:
    """Each says a little more than the one before."""
    length = rng.randint(1, 5)
    nodes = [_node("n0", tag)]
    nodes += [_node(f"n{step}", f"${{{{ n{step - 1} }}}}.") for step in range(1, length)]
    return nodes, {f"n{step}": tag + "." * step for step in range(length)}


def _diamond(rng: random.Random, tag: str) -> Made:
    """One, many at once, one."""
    middle = [f"m{number}" for number in range(rng.randint(2, 4))]
    nodes = [_node("top", tag), *(_node(name, f"${{{{ top }}}}/{name}") for name in middle)]
    nodes.append(_node("bottom", "+".join(f"${{{{ {name} }}}}" for name in middle)))
    says = {"top": tag} | {name: f"{tag}/{name}" for name in middle}
    return nodes, says | {"bottom": "+".join(says[name] for name in middle)}


def _fan(rng: random.Random, tag: str) -> Made:
    """One says a list, each of whose elements gets a node; one waits for all of them."""
    items = [f"{tag}-{number}" for number in range(rng.randint(0, 4))]
    nodes = [
        _node("list", json.dumps(items)),
        _node("each", "${{ item }}!", for_each="${{ list $ }}"),
        _node("join", "<${{ each }}>"),
    ]
    each = {f"each[{number}]": f"{item}!" for number, item in enumerate(items)}
    return nodes, {"list": json.dumps(items), **each, "join": f"<{f'{chr(10)}{chr(10)}'.join(each.values())}>"}


def _reduce(rng: random.Random, tag: str) -> Made:
    """Many that know nothing of one another; one that waits for all of them and reads none."""
    leaves = [f"leaf{number}" for number in range(rng.randint(2, 5))]
    nodes = [*(_node(name, f"{tag}:{name}") for name in leaves), _node("sum", tag, depends_on=leaves)]
    return nodes, {name: f"{tag}:{name}" for name in leaves} | {"sum": tag}


def _wrong(_rng: random.Random, tag: str) -> Made:
    """What should be a list is none."""
    return [_node("list", tag), _node("each", "${{ item }}", for_each="${{ list $ }}")], None


KINDS: tuple[Callable[[random.Random, str], Made], ...] = (
    _chain,
    _chain,
    _diamond,
    _diamond,
    _fan,
    _fan,
    _reduce,
    _wrong,
)
