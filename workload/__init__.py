"""Clients and workloads, over HTTP alone: graphs, open loops, synthetic workflows."""

from workload.client import Client, Document, Task
from workload.errors import GatewayRefused, GatewayUnavailable, TaskFailed
from workload.graph import INDEX, ITEM, Graph, Node, item, literal

__all__ = [
    "INDEX",
    "ITEM",
    "Client",
    "Document",
    "GatewayRefused",
    "GatewayUnavailable",
    "Graph",
    "Node",
    "Task",
    "TaskFailed",
    "item",
    "literal",
]
