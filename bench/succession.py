"""`python -m bench succession`: from a finished node to the start of the node that waits for it.

Both moments are the worker's own, from the ledger: the end of a call and the beginning of the next one.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench import report
from bench.database import database
from bench.graphrun import await_ends, must_be_whole, run_graphs, task_number
from bench.graphs import BACKEND
from bench.shapes import chain
from bench.stage import BusName, Fleet, Stage, fleet, say, stage
from workload.client import Client

WARM_UP = 50
LENGTH = 20
CHAINS = 100
STEPS = """
select coalesce(array_agg(extract(epoch from next.started_at - this.finished_at)::float8), '{}')
from ledger this join ledger next
    on next.task_id = this.task_id and next.node_id = 'n' || (substr(this.node_id, 2)::int + 1)
where this.task_id = any(%s)
"""


@dataclass(frozen=True, slots=True)
class Steps:
    """How long the steps of chains took, in seconds. `rate`: nodes a second meanwhile."""

    bus: BusName
    load: str
    rate: float
    seconds: list[float]

    def percentile(self, percent: int) -> float:
        """In milliseconds."""
        return 1000 * statistics.quantiles(self.seconds, n=100, method="inclusive")[percent - 1]


def run(buses: Sequence[BusName], *, steps: int, seconds: float, workers: int, file: Path | None) -> None:
    """Measures, prints, writes. Raises `PartError`."""
    found: list[Steps] = []
    with stage(pulsar="pulsar" in buses) as on:
        for bus in buses:
            with fleet(on, bus, workers=workers, **BACKEND) as started:
                run_graphs(on, started, "warm-up", [chain(started.model, WARM_UP)])
                found += _measure(on, bus, started, steps, seconds)
    _print(found)
    report.write("succession", {"workers": workers, "runs": [asdict(each) for each in found]}, file)


def _measure(on: Stage, bus: BusName, started: Fleet, steps: int, seconds: float) -> list[Steps]:
    """One chain alone; as many at once as go; chains that begin evenly at half of that rate."""
    alone = run_graphs(on, started, "idle", [chain(started.model, steps + 1)])
    say(f"{bus}, one chain: {alone.rate:,.0f} nodes/s")
    full = run_graphs(on, started, "full", [chain(started.model, LENGTH)] * max(CHAINS, int(steps / LENGTH)))
    say(f"{bus}, full load: {full.rate:,.0f} nodes/s")
    pace = full.rate / LENGTH / 2
    began = time.time()
    tasks = asyncio.run(_offer(started, pace, seconds))
    half = len(tasks) * LENGTH / (await_ends(on, started, tasks) - began)
    must_be_whole(on, tasks, len(tasks) * LENGTH)
    return [
        Steps(bus, "idle", alone.rate, _steps(on, alone.tasks)),
        Steps(bus, "half", half, _steps(on, tasks)),
        Steps(bus, "full", full.rate, _steps(on, full.tasks)),
    ]


async def _offer(started: Fleet, pace: float, seconds: float) -> list[int]:
    """Chains at even times, whatever becomes of those before: an open loop."""
    description = chain(started.model, LENGTH)
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with Client(started.gateways[0]) as client, asyncio.TaskGroup() as group:
        submitted = []
        for number in range(max(2, int(pace * seconds))):
            await asyncio.sleep(began + number / pace - loop.time())
            submitted.append(group.create_task(client.submit(description)))
    return [task_number(each.result().id) for each in submitted]


def _steps(on: Stage, tasks: Sequence[int]) -> list[float]:
    with database(on) as ask:
        found: list[float] = ask(STEPS, list(tasks))
    return found


def _print(found: Sequence[Steps]) -> None:
    report.show(
        f"From the end of a call to the beginning of the next one of its chain; half load: chains of {LENGTH}\n"
    )
    rows = [
        [
            f"{each.bus}, {each.load}",
            each.rate,
            len(each.seconds),
            each.percentile(50),
            each.percentile(99),
            1000 * max(each.seconds),
        ]
        for each in found
    ]
    report.show(report.table(["bus, load", "nodes/s", "steps", "p50 ms", "p99 ms", "longest ms"], rows))
