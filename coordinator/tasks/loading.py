"""A task's graph from what the store has of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from coordinator.graph.description import decode
from coordinator.graph.graph import Graph
from coordinator.noderesult import decode_node_result
from coordinator.tasks.apart import apart
from coordinator.tasks.news import Settled
from store import NodeRow, Store


async def load(store: Store, descriptions: Sequence[tuple[int, str]]) -> dict[int, tuple[Graph, list[NodeRow]]]:
    """The graphs of (task, description), as far as they have come, and the rows that say so. Raises
    `StoreUnavailable`.
    """
    rows: dict[int, list[NodeRow]] = {task_id: [] for task_id, _ in descriptions}
    for row in await store.nodes_of(list(rows)):
        rows[row.task_id].append(row)
    size = sum(len(description) for _, description in descriptions)
    graphs = await apart(size, lambda: {number: _graph(text, rows[number]) for number, text in descriptions})
    await expand(store, graphs.values())
    return {task_id: (graph, rows[task_id]) for task_id, graph in graphs.items()}


def _graph(description: str, rows: Sequence[NodeRow]) -> Graph:
    graph = Graph(decode(description))
    graph.restore(rows)
    return graph


async def expand(store: Store, graphs: Iterable[Graph]) -> None:
    """Makes the instances of every `for_each` node whose list is known, and of those that become so thereby."""
    waiting = list(graphs)
    while waiting := [graph for graph in waiting if graph.wanted_lists()]:
        wanted = [(graph, node_id) for graph in waiting for node_id in graph.wanted_lists()]
        contents = await store.responses(
            [number for graph, node_id in wanted for number in graph.list_sources(node_id)]
        )
        for graph, node_id in wanted:
            graph.expand(node_id, contents)


def settled_of(rows: Iterable[NodeRow]) -> list[Settled]:
    """The results that there are, as news."""
    return [
        Settled(row.task_id, row.node_id, row.request_id, decode_node_result(row.result))
        for row in rows
        if row.result is not None
    ]
