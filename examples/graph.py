"""Builds a graph, submits it and awaits its result: `python -m examples.graph [URL [MODEL]]`."""

from __future__ import annotations

import asyncio
import sys

from workload.client import Client
from workload.graph import Graph

url = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8081"
model = sys.argv[2] if len(sys.argv) > 2 else "mock"


async def main() -> None:
    """One task of four nodes."""
    graph = Graph(user="alice")
    ideas = [graph.node(f"idea-{number}", model=model, prompt="An idea for a trip to Oslo.") for number in range(2)]
    best = graph.node("best", model=model, prompt=f"Which is better?\n1. {ideas[0]}\n2. {ideas[1]}", retries=2)
    graph.node("plan", model=model, prompt=f"Plan the trip that was chosen here: {best}")
    async with Client(url) as client:
        task = await client.submit(graph)
        result = await task.result("best", "plan", progress=True)
        print(task.id, result["plan"])


if __name__ == "__main__":
    asyncio.run(main())
