"""A service under load: five tasks of code generation come at random times: `python -m examples.agents.service`.

An open loop: a task comes when its time has come, whatever became of those before, and its latency counts from then.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import random
import statistics
from collections.abc import Sequence
from itertools import islice
from typing import Any, NamedTuple

from examples.agents.codegen import TASKS, codegen
from workload.arrivals import poisson
from workload.client import Client

# Of the logarithm of a mock call's duration.
SPREAD = 0.5


class Visit(NamedTuple):
    """The description of a task of kind `kind` (in TASKS) that comes at `at`, in seconds."""

    at: float
    kind: int
    description: dict[str, Any]


class Served(NamedTuple):
    """A task's id, and the seconds from when it was due to come until its client heard of its end."""

    task: str
    seconds: float


def visits(model: str, *, rate: float, count: int, call_seconds: float, seed: int) -> list[Visit]:
    """`count` tasks, the five kinds in turn, at random times (Poisson), `rate` a second in the mean.

    `call_seconds`: mean duration (lognormal) of the calls of a mock model; 0 for another model, which has its own.
    """
    times = islice(poisson(rate, random.Random(seed)), count)
    drawn = random.Random(seed + 1)
    coming = []
    for number, arrival in enumerate(times):
        task = TASKS[number % len(TASKS)]
        description = codegen(task.problem, task.shape, model).description()
        for node in description["nodes"] if call_seconds else []:
            seconds = drawn.lognormvariate(math.log(call_seconds) - SPREAD**2 / 2, SPREAD)
            node["body"]["agentos_mock"] = {"delay_seconds": seconds}
        coming.append(Visit(arrival.at, number % len(TASKS), description))
    return coming


async def serve(client: Client, began: float, visit: Visit) -> Served:
    """Submits in time and waits for the end. `began`: time of the event loop. Raises the client's errors."""
    loop = asyncio.get_running_loop()
    await asyncio.sleep(began + visit.at - loop.time())
    task = await client.submit(visit.description)
    await task.ended()
    return Served(task.id, loop.time() - began - visit.at)


def mean_of(kind: int, coming: Sequence[Visit], served: Sequence[Served]) -> float:
    """The mean latency of the tasks of one kind, in seconds."""
    return statistics.fmean(each.seconds for visit, each in zip(coming, served, strict=True) if visit.kind == kind)


async def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8081", help="gateways, separated by commas")
    parser.add_argument("--model", default="mock")
    parser.add_argument("--rate", type=float, default=0.2, help="tasks a second")
    parser.add_argument("--count", type=int, default=25, help="tasks")
    parser.add_argument("--mock-seconds", type=float, default=0, help="mean duration of a call of a mock model")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    coming = visits(given.model, rate=given.rate, count=given.count, call_seconds=given.mock_seconds, seed=given.seed)
    async with Client(given.url) as client:
        began = asyncio.get_running_loop().time()
        served = await asyncio.gather(*(serve(client, began, each) for each in coming))
    for kind, (_, shape) in enumerate(TASKS[: len(coming)]):
        print(f"task {kind}, {shape.calls} calls: mean latency {mean_of(kind, coming, served):.2f} s")
    print(f"all {len(served)}: mean latency {statistics.fmean(each.seconds for each in served):.2f} s")


if __name__ == "__main__":
    asyncio.run(main())
