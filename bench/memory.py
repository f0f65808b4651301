"""`python -m bench memory`: what a worker process holds after very many requests."""

from __future__ import annotations

import itertools
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
import uvloop

from bench import report
from bench.node import Node, asker, closed_loop, node
from bench.stage import BusName, Stage, say, stage
from bench.worker import BODY, PREFETCH, SLOTS, WAITING, instant

# Shares of the requests at which the memory is looked at; the first is for caches and pools to fill.
LOOKS = (10, 25, 50, 75, 100)
GOAL_GROWTH = 0.02


@dataclass(frozen=True, slots=True)
class Look:
    """Resident memory, in bytes, after so many requests."""

    requests: int
    resident: int


def run(bus: BusName, *, requests: int, file: Path | None) -> None:
    """Measures, prints, writes. Raises `PartError`."""
    with stage(pulsar=bus == "pulsar") as on, instant(on) as upstream:
        settings: dict[str, Any] = {"node_type": "remote", "api_url": upstream, "max_process_num": SLOTS}
        with node(on, bus, prefetch=PREFETCH, **settings) as worker:
            looks = uvloop.run(_looks(on, bus, worker, requests))
    _print(looks, bus)
    report.write("memory", {"bus": bus, "looks": [asdict(each) for each in looks]}, file)


async def _looks(on: Stage, bus: BusName, worker: Node, requests: int) -> list[Look]:
    """Plain and streamed requests in turn, and what the worker holds on the way."""
    looks: list[Look] = []
    done = 0
    async with asker(on, bus, worker.model) as asking:
        for share in LOOKS:
            for stream in (False, True):
                part = max(1, requests * share // 100 - done) // (1 if stream else 2) or 1
                await closed_loop(asking, itertools.repeat(BODY), at_once=WAITING, count=part, stream=stream)
                done += part
            looks.append(Look(done, int(psutil.Process(worker.process.pid).memory_info().rss)))
            say(f"{done:,} requests: {looks[-1].resident / 2**20:.1f} MiB")
    return looks


def _print(looks: list[Look], bus: BusName) -> None:
    report.show(f"Resident memory of one worker process on {bus}; half of the requests are streams of 10 chunks\n")
    rows = []
    for before, each in zip([None, *looks], looks, strict=False):
        grown = "-" if before is None else _kibi(each.resident - before.resident, each.requests - before.requests)
        rows.append([f"{each.requests:,}", f"{each.resident / 2**20:.1f}", grown])
    report.show(report.table(["requests", "MiB", "KiB / 1,000 requests since"], rows) + "\n")
    half, last = (next(each for share, each in zip(LOOKS, looks, strict=True) if share == at) for at in (50, 100))
    growth = last.resident / half.resident - 1
    wanted = f"the second half of {last.requests:,} requests adds at most {100 * GOAL_GROWTH:g} %"
    report.show(report.goal(f"{wanted} ({100 * growth:.2f} %)", met=growth <= GOAL_GROWTH))


def _kibi(grown: int, requests: int) -> str:
    return f"{grown / 1024 * 1000 / max(1, requests):.2f}"
