"""`python -m bench worker`: one worker process on an instant upstream, beside a bare loop of the same HTTP client."""

from __future__ import annotations

import itertools
import os
import signal
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from bench import report
from bench.node import Node, asker, closed_loop, node
from bench.processes import Meter, Process, running
from bench.profiled import Profile
from bench.profiles import print_profile, read_profile
from bench.stage import HOST, BusName, Stage, say, stage
from core.errors import PartError

READY_SECONDS = 60.0
ROUND_SECONDS = 300.0
SLOTS = 64
# More than the slots, so that a message waits wherever a slot becomes free.
WAITING = 128
PREFETCH = 64
WARM_UP = 500
BODY = msgspec.json.encode({"model": "bench", "messages": [{"role": "user", "content": "x" * 200}]})
BARE, NODE = "bare loop", "worker"


@dataclass(frozen=True, slots=True)
class Measured:
    """One round of one way. `cpu`: seconds for 1,000 requests, of the process that makes the calls."""

    way: str
    rate: float
    cpu: float


def run(bus: BusName, *, requests: int, rounds: int, profile: bool, file: Path | None) -> None:
    """Measures, prints, writes. Raises `PartError`."""
    measured: list[Measured] = []
    found: Profile | None = None
    with stage(pulsar=bus == "pulsar") as on, instant(on) as upstream:
        target = on.directory / "worker.json" if profile else None
        settings: dict[str, Any] = {"node_type": "remote", "api_url": upstream, "max_process_num": SLOTS}
        with (
            _bare(on, upstream) as bare,
            node(on, bus, profile_to=target, prefetch=PREFETCH, **settings) as worker,
        ):
            through_worker(on, bus, worker, WARM_UP)
            through_bare(bare, WARM_UP)
            for number in range(1, rounds + 1):
                measured.append(through_bare(bare, requests))
                if target and number == rounds:
                    worker.process.signal(signal.SIGUSR1)
                measured.append(through_worker(on, bus, worker, requests))
                pair = f"{measured[-2].rate:,.0f} and {measured[-1].rate:,.0f}"
                say(f"round {number} of {rounds}: {pair} requests/s")
            if target:
                worker.process.signal(signal.SIGUSR2)
                found = read_profile(target, worker.process)
    _print(measured, requests, bus)
    if found is not None:
        print_profile("worker", found, requests)
    report.write("worker", {"bus": bus, "requests": requests, "rounds": [asdict(each) for each in measured]}, file)


@contextmanager
def instant(on: Stage) -> Iterator[str]:
    """The address of an upstream that answers at once."""
    arguments = ["-m", "bench.upstream", msgspec.json.encode({"chunks": 10}).decode()]
    with running("upstream", arguments, os.environ, on.directory) as process:
        yield f"http://{HOST}:{process.hear(READY_SECONDS)['port']}"


@contextmanager
def _bare(on: Stage, upstream: str) -> Iterator[Process]:
    given = {"role": "loop", "upstream": upstream, "at_once": SLOTS}
    with running("bare", ["-m", "bench.bare", msgspec.json.encode(given).decode()], os.environ, on.directory) as bare:
        bare.hear(READY_SECONDS)
        yield bare


def through_bare(bare: Process, requests: int) -> Measured:
    """One round of the bare loop."""
    with Meter({BARE: bare.pid}) as meter:
        bare.tell({"count": requests, "body": BODY.decode()})
        seconds = float(bare.hear(ROUND_SECONDS)["seconds"])
    return Measured(BARE, requests / seconds, 1000 * meter.cpu[BARE] / requests)


def through_worker(on: Stage, bus: BusName, worker: Node, requests: int) -> Measured:
    """One round of the worker: replies go to the bench, result events to the result topic."""
    with Meter({NODE: worker.process.pid}) as meter:
        seconds = uvloop.run(_ask(on, bus, worker, requests))
    worker.process.must_live()
    return Measured(NODE, requests / seconds, 1000 * meter.cpu[NODE] / requests)


async def _ask(on: Stage, bus: BusName, worker: Node, requests: int) -> float:
    async with asker(on, bus, worker.model) as asking:
        began = time.monotonic()
        done = await closed_loop(asking, itertools.repeat(BODY), at_once=WAITING, count=requests, stream=False)
        if len(done) != requests:
            raise PartError(f"{len(done)} of {requests} requests were answered")
        return time.monotonic() - began


def _print(measured: list[Measured], requests: int, bus: BusName) -> None:
    report.show(
        f"{requests:,} plain requests to an instant upstream, {SLOTS} at once; one worker process on {bus}, "
        f"AGENTOS_PREFETCH={PREFETCH}, every reply heard, every result published; medians\n"
    )
    of = {way: [each for each in measured if each.way == way] for way in (BARE, NODE)}
    rate = {way: statistics.median(each.rate for each in rounds) for way, rounds in of.items()}
    cpu = {way: statistics.median(each.cpu for each in rounds) for way, rounds in of.items()}
    rows = [
        [way, rate[way], f"{rate[way] / rate[BARE]:.2f}", f"{cpu[way]:.3f}", f"{cpu[way] / cpu[BARE]:.1f}"]
        for way in (BARE, NODE)
    ]
    head = ["way", "requests/s", "of the bare loop", "CPU s / 1,000 requests", "to the bare loop"]
    report.show(report.table(head, rows) + "\n")
