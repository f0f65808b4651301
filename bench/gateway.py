"""`python -m bench gateway`: what the road through AgentOS adds to a call of the same upstream."""

from __future__ import annotations

import os
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import uvloop

from bench import report
from bench.load import Load, load
from bench.processes import Meter, Process, running
from bench.stage import HOST, BusName, Fleet, Stage, fleet, say, stage
from core.errors import PartError

SLOTS = 1024
CHUNKS = 10
READY_SECONDS = 60.0
# Direct and through AgentOS in turn, so that what else the machine does falls on both.
TURNS = 3
# A single client is slow, and its median needs no thousands.
ONE_CLIENT_REQUESTS = 600
LOST_CLIENTS = 64
GOAL_MS = {"pulsar": 10.0, "postgres": 6.0}


class Shape(NamedTuple):
    """A kind of load."""

    clients: int
    stream: bool
    requests: int


@dataclass(frozen=True, slots=True)
class Cell:
    """A number of clients, plain or streamed, on one bus: directly and through AgentOS. Times in milliseconds.

    `cpu`: seconds for 1,000 requests through AgentOS, by process.
    """

    bus: BusName
    clients: int
    stream: bool
    requests: int
    direct_rate: float
    rate: float
    direct_p50: float
    direct_p99: float
    p50: float
    p99: float
    lost: dict[str, int]
    cpu: dict[str, float]

    @property
    def added_p50(self) -> float:
        """Milliseconds."""
        return self.p50 - self.direct_p50

    @property
    def added_p99(self) -> float:
        """Milliseconds."""
        return self.p99 - self.direct_p99


def run(buses: Sequence[BusName], *, clients: Sequence[int], requests: int, lost: int, file: Path | None) -> None:
    """Measures, prints, writes. Raises `PartError`."""
    cells: list[Cell] = []
    losses: dict[str, Load] = {}
    with stage(pulsar="pulsar" in buses) as on, _upstream(on) as process:
        upstream = f"http://{HOST}:{process.hear(READY_SECONDS)['port']}"
        pids = {**on.pids(), "clients": os.getpid(), "upstream": process.pid}
        for bus in buses:
            settings: dict[str, Any] = {"node_type": "remote", "api_url": upstream, "max_process_num": SLOTS}
            with fleet(on, bus, **settings) as started:
                _warm_up(upstream, started, max(clients))
                shapes = [Shape(count, stream, requests) for count in clients for stream in (False, True)]
                cells += [_cell(bus, upstream, started, pids, shape) for shape in shapes]
                if lost:
                    losses[bus] = _lost(bus, started, lost)
    _print(cells, losses, lost)
    plain = [
        {**msgspec.to_builtins(each), "added_p50": each.added_p50, "added_p99": each.added_p99} for each in cells
    ]
    report.write(
        "gateway",
        {"cells": plain, "lost": {bus: {"requests": lost, "lost": each.lost} for bus, each in losses.items()}},
        file,
    )


@contextmanager
def _upstream(on: Stage) -> Iterator[Process]:
    arguments = ["-m", "bench.upstream", msgspec.json.encode({"chunks": CHUNKS}).decode()]
    with running("upstream", arguments, os.environ, on.directory) as process:
        yield process


def _warm_up(upstream: str, started: Fleet, clients: int) -> None:
    for url in (upstream, started.gateways[0]):
        for stream in (False, True):
            _load(url, started, clients, 4 * clients, stream)


def _load(url: str, started: Fleet, clients: int, requests: int, stream: bool) -> Load:
    done = uvloop.run(load(url, started.model, clients=clients, requests=requests, stream=stream))
    started.must_live()
    if not done.latencies:
        raise PartError(f"{url} answers nothing: {done.lost}")
    return done


def _cell(bus: BusName, upstream: str, started: Fleet, pids: dict[str, int], shape: Shape) -> Cell:
    clients, stream, requests = shape
    share = max(clients, (min(requests, ONE_CLIENT_REQUESTS) if clients == 1 else requests) // TURNS)
    direct, through = [], []
    cpu: Counter[str] = Counter()
    for _ in range(TURNS):
        direct.append(_load(upstream, started, clients, share, stream))
        with Meter({**pids, **started.pids()}) as meter:
            through.append(_load(started.gateways[0], started, clients, share, stream))
        cpu.update(meter.cpu)
    answered = sum(len(each.latencies) for each in through)
    direct_p50, direct_p99 = _percentiles(direct)
    p50, p99 = _percentiles(through)
    cell = Cell(
        bus=bus,
        clients=clients,
        stream=stream,
        requests=answered,
        direct_rate=_rate(direct),
        rate=_rate(through),
        direct_p50=direct_p50,
        direct_p99=direct_p99,
        p50=p50,
        p99=p99,
        lost=sum((Counter(each.lost) for each in through), Counter()),
        cpu={name: 1000 * used / answered for name, used in cpu.items()},
    )
    say(f"{bus}, {clients} client(s), {_mode(stream)}: {cell.rate:,.0f} requests/s, {cell.added_p50:.1f} ms added")
    return cell


def _lost(bus: BusName, started: Fleet, requests: int) -> Load:
    done = _load(started.gateways[0], started, LOST_CLIENTS, requests, stream=False)
    say(f"{bus}: {sum(done.lost.values())} of {requests:,} replies lost")
    return done


def _percentiles(loads: list[Load]) -> tuple[float, float]:
    latencies = sorted(1000 * each for one in loads for each in one.latencies)
    return statistics.median(latencies), latencies[min(len(latencies) - 1, int(len(latencies) * 0.99))]


def _rate(loads: list[Load]) -> float:
    return sum(len(each.latencies) for each in loads) / sum(each.seconds for each in loads)


def _mode(stream: bool) -> str:
    return "streamed" if stream else "plain"


def _print(cells: list[Cell], losses: dict[str, Load], lost: int) -> None:
    head = ["bus", "clients", "answer", "direct requests/s", "requests/s", "direct p50 ms", "p50 ms", "added p50 ms"]
    rows = [
        [
            *(each.bus, each.clients, _mode(each.stream), each.direct_rate, each.rate),
            *(f"{value:.1f}" for value in (each.direct_p50, each.p50, each.added_p50, each.added_p99)),
            sum(each.lost.values()),
        ]
        for each in cells
    ]
    report.show(
        f"Upstream of the bench itself, streamed answers of {CHUNKS} chunks; worker NODE_TYPE=remote, {SLOTS} slots\n"
    )
    report.show(report.table([*head, "added p99 ms", "lost"], rows) + "\n")
    _print_cpu(cells)
    for bus, limit in GOAL_MS.items():
        ones = [each.added_p50 for each in cells if each.bus == bus and each.clients == 1 and not each.stream]
        for added in ones:
            report.show(
                report.goal(
                    f"added p50 at one client on {bus} at most {limit:g} ms ({added:.1f})", met=added <= limit
                )
            )
    for bus, done in losses.items():
        number = sum(done.lost.values())
        why = f" ({done.lost})" if number else ""
        report.show(report.goal(f"no reply of {lost:,} lost on {bus}: {number} lost{why}", met=not number))


def _print_cpu(cells: list[Cell]) -> None:
    columns = ["clients", "coordinator", "worker-1", "upstream", "broker", "postgres"]
    rows = []
    for each in cells:
        used = [each.cpu.get(column, 0.0) for column in columns]
        rows.append(
            [f"{each.bus}, {each.clients} {_mode(each.stream)}", *(f"{one:.2f}" for one in [*used, sum(used)])]
        )
    report.show("CPU seconds for 1,000 requests through AgentOS, by process (`clients`: the bench itself)\n")
    report.show(report.table(["load", *columns, "sum"], rows) + "\n")
