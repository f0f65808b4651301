"""The graphs of the synthetic application. Pure; data and their references are given.

Structures and parameters are those of TaPS: https://taps.proxystore.dev/latest/api/taps/apps/synthetic
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence

import msgspec

from workload.graph import Graph, Node


class Structure(enum.StrEnum):
    """How the tasks depend on each other; N is `task_count`."""

    BAG = "bag"  # N tasks, no edges
    DIAMOND = "diamond"  # one, N that depend on it, one that depends on all of them
    REDUCE = "reduce"  # N, and one that depends on all of them
    SEQUENTIAL = "sequential"  # N in a chain


class Synthetic(msgspec.Struct, frozen=True, kw_only=True):
    """What is run. A task is a node.

    It takes and gives `task_data_bytes` random bytes, and lasts `task_sleep` seconds with the making of its data.
    `bag_max_running`: most tasks of a bag at once. `warmup_tasks`: empty tasks that end before the clock starts.
    """

    structure: Structure
    task_count: int
    task_data_bytes: int
    task_sleep: float
    bag_max_running: int = 0
    warmup_tasks: int = 0
    model: str = "mock"

    @property
    def tasks(self) -> int:
        """How many there are."""
        return self.task_count + {Structure.DIAMOND: 2, Structure.REDUCE: 1}.get(self.structure, 0)

    @property
    def inputs(self) -> int:
        """How many pieces of fresh data go in."""
        return self.task_count if self.structure in (Structure.BAG, Structure.REDUCE) else 1


LAST = "last"


def noop(app: Synthetic, graph: Graph, id: str, *inputs: object) -> Node:
    """One task; an input is data, or refers to them."""
    mock = {"bytes": app.task_data_bytes, "sleep_seconds": app.task_sleep}
    return graph.node(id, model=app.model, prompt=" ".join(map(str, inputs)), agentos_mock=mock)


def warmup(app: Synthetic) -> Graph:
    """An empty task."""
    graph = Graph()
    graph.node(LAST, model=app.model, prompt="", agentos_mock={"text": ""})
    return graph


def single(app: Synthetic, data: Sequence[object]) -> Graph:
    """One task of a bag."""
    graph = Graph()
    noop(app, graph, LAST, *data)
    return graph


def diamond(app: Synthetic, data: Sequence[object]) -> Graph:
    """N + 2 tasks; the last one takes N times the data."""
    graph = Graph()
    first = noop(app, graph, "first", *data)
    middle = [noop(app, graph, f"middle-{number}", first) for number in range(app.task_count)]
    noop(app, graph, LAST, *middle)
    return graph


def reduce(app: Synthetic, data: Sequence[object]) -> Graph:
    """N + 1 tasks; the last one takes N times the data."""
    graph = Graph()
    maps = [noop(app, graph, f"map-{number}", piece) for number, piece in enumerate(data)]
    noop(app, graph, LAST, *maps)
    return graph


def sequential(app: Synthetic, data: Sequence[object]) -> Graph:
    """N tasks, each takes the output of the one before."""
    graph = Graph()
    before: object = data[0]
    for number in range(app.task_count - 1):
        before = noop(app, graph, f"step-{number}", before)
    noop(app, graph, LAST, before)
    return graph


GRAPHS: dict[Structure, Callable[[Synthetic, Sequence[object]], Graph]] = {
    Structure.DIAMOND: diamond,
    Structure.REDUCE: reduce,
    Structure.SEQUENTIAL: sequential,
}
