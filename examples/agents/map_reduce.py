"""Sums up a long text: `python -m examples.agents.map_reduce FILE`.

The text is split into parts, which travel once, as one document with a list of texts. A `for_each` node sums up each
part, as many at once as the fleet can; the last node has all of these summaries before it and writes one.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path

from workload.client import Client, Document
from workload.graph import ITEM, Graph


def split(text: str, words: int) -> list[str]:
    """Parts of whole paragraphs, of about so many words; a longer paragraph is a part of its own."""
    parts: list[list[str]] = []
    room = 0
    for paragraph in filter(None, map(str.strip, text.split("\n\n"))):
        length = len(paragraph.split())
        if length > room:
            parts.append([])
            room = words
        parts[-1].append(paragraph)
        room -= length
    return ["\n\n".join(part) for part in parts]


def map_reduce(parts: Document, model: str) -> Graph:
    """The graph. `parts`: a JSON list of texts."""
    graph = Graph(metadata={"agent": "map-reduce"})
    part = graph.node("part", model=model, for_each=str(parts), prompt=f"Sum up in two sentences:\n\n{ITEM}")
    graph.node(
        "whole", model=model, prompt=f"Here are the summaries of a text's parts. Write one of it all:\n\n{part}"
    )
    return graph


async def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--words", type=int, default=500, help="of a part")
    parser.add_argument("--url", default="http://127.0.0.1:8081")
    parser.add_argument("--model", default="mock")
    given = parser.parse_args()
    parts = split(given.file.read_text(), given.words)
    if not parts:
        raise SystemExit(f"{given.file} holds no text")
    async with Client(given.url) as client:
        task = await client.submit(map_reduce(await client.upload(json.dumps(parts)), given.model))
        print(f"{task.id}: {len(parts)} parts")
        print((await task.result("whole"))["whole"])


if __name__ == "__main__":
    asyncio.run(main())
