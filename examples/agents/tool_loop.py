"""Decides its next step from what it has seen: `python -m examples.agents.tool_loop "What is 17 * 23 - 4?"`.

The task is open: after each answer the agent runs the tool that the model asks for, adds a node that has seen its
result, and closes the task once the model knows the answer. What was said is referred to, not sent again.

All that the agent knows is in the task's events. Started anew with `--resume TASK` it hears them from the first one,
comes to the same nodes, whose repeated addition changes nothing, and goes on.
"""

from __future__ import annotations

import argparse
import asyncio
import re
from typing import Any

from examples.agents.calculator import calculate
from workload.client import Client, Task
from workload.graph import Graph, literal

MOST_STEPS = 10
TELL = (
    "You have a calculator. To use it, answer with one line: CALCULATE and an arithmetic expression. "
    "Once you know the answer to the question, answer with one line: ANSWER and the answer."
)
# What a mock model says, step by step.
REHEARSED = ("CALCULATE 17 * 23", "CALCULATE 391 - 4", "ANSWER 387")


def step(number: int, question: str, results: list[str], model: str, *, rehearse: bool = False) -> Graph:
    """The graph with the node of a step alone. `results`: what the tool has said after each step before."""
    messages = [{"role": "system", "content": TELL}, {"role": "user", "content": literal(question)}]
    for before, result in enumerate(results):
        messages.append({"role": "assistant", "content": f"${{{{ step-{before} }}}}"})
        messages.append({"role": "user", "content": result})
    graph = Graph(open=True, metadata={"agent": "tool loop"})
    said: dict[str, Any] = {"agentos_mock": {"text": REHEARSED[number % len(REHEARSED)]}} if rehearse else {}
    graph.node(f"step-{number}", model=model, messages=messages, **said)
    return graph


def answer_of(said: str) -> str | None:
    """The answer, if the model does not ask for the calculator."""
    return None if re.match(r"\s*CALCULATE\b", said) else said.strip().removeprefix("ANSWER").strip()


def use_tool(said: str) -> str:
    """What the calculator says."""
    expression = said.strip().removeprefix("CALCULATE").splitlines()[0]
    try:
        return f"The calculator says {calculate(expression):g}."
    except ValueError as error:
        return f"The calculator cannot do that: {error}."


async def follow(task: Task, question: str, model: str, *, rehearse: bool) -> str:
    """Takes every step that is to be taken, and returns the answer."""
    results: list[str] = []
    answer = ""
    async for event in task.events():
        if event.name != "node.completed" or event.node is None:
            continue
        said = (await task.node(event.node))["output"]
        found = answer_of(said)
        print(f"{event.node}: {said.strip().splitlines()[0] if said.strip() else '(nothing)'}")
        if found is not None or len(results) == MOST_STEPS:
            answer = found or "no answer"
            await task.add(close=True)
        else:
            results.append(use_tool(said))
            await task.add(step(len(results), question, results, model, rehearse=rehearse))
    await task.ended()
    return answer


async def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("question", nargs="?", default="What is 17 * 23 - 4?")
    parser.add_argument("--url", default="http://127.0.0.1:8081")
    parser.add_argument("--model", default="mock")
    parser.add_argument("--resume", metavar="TASK", help="go on with a task of this question")
    parser.add_argument("--rehearse", action="store_true", help="tell a mock model what to say")
    given = parser.parse_args()
    async with Client(given.url) as client:
        first = step(0, given.question, [], given.model, rehearse=given.rehearse)
        task = client.task(given.resume) if given.resume else await client.submit(first)
        print(task.id)
        print(await follow(task, given.question, given.model, rehearse=given.rehearse))


if __name__ == "__main__":
    asyncio.run(main())
