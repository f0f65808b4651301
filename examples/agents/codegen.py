"""Writes a program by rounds of samples and votes: `python -m examples.agents.codegen --task 0`.

In each round some samples are drawn, each having seen the samples and the votes of the round before; then some
votes are cast on them. What the last votes choose is the answer. The whole is one graph: a round begins when all
votes of the one before are there, and the end of a coordinator repeats no call.
"""

from __future__ import annotations

import argparse
import asyncio
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from workload.client import Client
from workload.graph import Graph, Node


class Shape(NamedTuple):
    """How many rounds, and of how many samples and votes."""

    rounds: int
    samples: int
    votes: int

    @property
    def calls(self) -> int:
        """Nodes of the graph."""
        return self.rounds * (self.samples + self.votes)


class Task(NamedTuple):
    """What is to be written, and with how much effort."""

    problem: str
    shape: Shape


TASKS = (
    Task("Write a Python class that keeps the most recently used items of a cache.", Shape(5, 3, 3)),
    Task("Write a Python function that merges overlapping intervals.", Shape(3, 3, 3)),
    Task("Write a Python function that tells whether a text is a palindrome.", Shape(2, 3, 3)),
    Task("Write a Python parser and evaluator for arithmetic with parentheses.", Shape(3, 4, 3)),
    Task("Write a Python function that finds the shortest way through a weighted graph.", Shape(4, 3, 3)),
)


def codegen(problem: str, shape: Shape, model: str) -> Graph:
    """The graph of a task. Its nodes are `sample-<round>-<number>` and `vote-<round>-<number>`."""
    graph = Graph(metadata={"agent": "codegen"})
    prompt = f"{problem} Answer with code only."
    for number in range(shape.rounds):
        samples = [graph.node(f"sample-{number}-{each}", model=model, prompt=prompt) for each in range(shape.samples)]
        ballot = (
            f"{_ballot(problem, samples)}\nWhich is the best? Begin with its number, then say what is wrong with it."
        )
        votes = [graph.node(f"vote-{number}-{each}", model=model, prompt=ballot) for each in range(shape.votes)]
        reviews = "\n".join(map(str, votes))
        prompt = f"{_ballot(problem, samples)}\nReviewers say:\n{reviews}\nWrite a better one. Answer with code only."
    return graph


def chosen(outputs: Mapping[str, str], shape: Shape) -> str:
    """The last round's sample with the most votes; of equal ones, and where no vote can be read, the first."""
    last = shape.rounds - 1
    counted = Counter(_voted(outputs[f"vote-{last}-{each}"], shape.samples) for each in range(shape.votes))
    best = max(range(1, shape.samples + 1), key=lambda number: (counted[number], -number))
    return outputs[f"sample-{last}-{best - 1}"]


def _ballot(problem: str, samples: Sequence[Node]) -> str:
    numbered = "\n".join(f"Candidate {number}:\n{sample}" for number, sample in enumerate(samples, 1))
    return f"{problem}\n{numbered}"


def _voted(vote: str, samples: int) -> int:
    """The number that a vote begins with, or the first one in it; 0 where there is no candidate's."""
    found = re.search(r"\d+", vote)
    return int(found[0]) if found and 1 <= int(found[0]) <= samples else 0


async def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8081")
    parser.add_argument("--model", default="mock")
    parser.add_argument("--task", type=int, default=0, choices=range(len(TASKS)))
    given = parser.parse_args()
    problem, shape = TASKS[given.task]
    async with Client(given.url) as client:
        task = await client.submit(codegen(problem, shape, given.model))
        result = await task.result()
    print(f"{task.id}: {shape.calls} calls")
    print(chosen(result, shape))


if __name__ == "__main__":
    asyncio.run(main())
