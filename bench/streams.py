"""`python -m bench streams`: many paced streams at once in one worker process, beside a bare relay of the same."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from bench import report
from bench.flow import Flow, OverBus, OverHttp, flow
from bench.node import Node, asker, node
from bench.processes import Process, running
from bench.stage import HOST, BusName, Stage, say, stage

READY_SECONDS = 60.0
BODY = msgspec.json.encode({"model": "bench", "stream": True, "messages": [{"role": "user", "content": "Go on."}]})
DIRECT, RELAY, NODE = "upstream alone", "bare relay", "worker"
GOAL_ADDED_MS = 25.0
GOAL_HEALTH_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Measured:
    """One way at one number of streams. Times in seconds; `cpu` of the relay or the worker."""

    way: str
    streams: int
    offered: float
    tokens_per_second: float
    first_p50: float
    first_p99: float
    cpu_per_1000_tokens: float | None
    health_longest: float | None
    unfinished: int


def run(bus: BusName, *, streams: Sequence[int], pace: float, seconds: float, file: Path | None) -> None:
    """Measures, prints, writes. Raises `PartError`."""
    measured: list[Measured] = []
    with stage(pulsar=bus == "pulsar") as on:
        given = {"tokens": max(1, round(pace * seconds)), "pace": pace}
        with _helper(on, "paced", given) as upstream:
            url = f"http://{HOST}:{upstream.hear(READY_SECONDS)['port']}"
            for count in streams:
                offered = count * pace
                for way, measure in ((DIRECT, _direct), (RELAY, _relay), (NODE, _node)):
                    flowed, name, longest = measure(on, bus, url, count, seconds)
                    measured.append(each := _measured(way, count, offered, flowed, name, longest))
                    say(f"{count} streams, {way}: {each.tokens_per_second:,.0f} of {offered:,.0f} tokens/s")
    _print(measured, pace, seconds, bus)
    report.write("streams", {"bus": bus, "pace": pace, "rows": [asdict(each) for each in measured]}, file)


# A way: what flowed, the process whose CPU counts, the longest time of a health check.
_Way = tuple[Flow, str | None, float | None]


def _direct(on: Stage, bus: BusName, upstream: str, count: int, seconds: float) -> _Way:
    return uvloop.run(_over_http(upstream, count, seconds, {})), None, None


def _relay(on: Stage, bus: BusName, upstream: str, count: int, seconds: float) -> _Way:
    with _helper(on, "bare", {"role": "relay", "upstream": upstream}) as process:
        url = f"http://{HOST}:{process.hear(READY_SECONDS)['port']}"
        return uvloop.run(_over_http(url, count, seconds, {RELAY: process.pid})), RELAY, None


def _node(on: Stage, bus: BusName, upstream: str, count: int, seconds: float) -> _Way:
    settings: dict[str, Any] = {"node_type": "remote", "api_url": upstream, "max_process_num": count + count // 4 + 1}
    with node(on, bus, **settings) as worker, _helper(on, "pulse", {"url": worker.url}) as pulse:
        pulse.hear(READY_SECONDS)
        pulse.tell({})
        flowed = uvloop.run(_over_bus(on, bus, worker, count, seconds))
        pulse.tell({})
        return flowed, NODE, float(pulse.hear(READY_SECONDS)["longest"])


async def _over_http(url: str, count: int, seconds: float, pids: dict[str, int]) -> Flow:
    streams = OverHttp(url, BODY)
    try:
        return await flow(streams, at_once=count, life=seconds, pids=pids)
    finally:
        streams.close()


async def _over_bus(on: Stage, bus: BusName, worker: Node, count: int, seconds: float) -> Flow:
    async with asker(on, bus, worker.model) as asking:
        return await flow(OverBus(asking, BODY), at_once=count, life=seconds, pids={NODE: worker.process.pid})


@contextmanager
def _helper(on: Stage, module: str, given: dict[str, Any]) -> Iterator[Process]:
    arguments = ["-m", f"bench.{module}", msgspec.json.encode(given).decode()]
    with running(module, arguments, os.environ, on.directory) as process:
        yield process


def _measured(
    way: str, count: int, offered: float, flowed: Flow, name: str | None, longest: float | None
) -> Measured:
    firsts = sorted(flowed.firsts) or [float("inf")]
    return Measured(
        way=way,
        streams=count,
        offered=offered,
        tokens_per_second=flowed.tokens / flowed.seconds,
        first_p50=firsts[len(firsts) // 2],
        first_p99=firsts[min(len(firsts) - 1, int(len(firsts) * 0.99))],
        cpu_per_1000_tokens=1000 * flowed.cpu[name] / max(1, flowed.tokens) if name else None,
        health_longest=longest,
        unfinished=flowed.unfinished,
    )


def _print(measured: list[Measured], pace: float, seconds: float, bus: BusName) -> None:
    report.show(
        f"Streams of {pace:g} tokens/s for {seconds:g} s each, begun evenly; one worker process on {bus}, "
        f"NODE_TYPE=remote; the relay is one process as well; {os.cpu_count()} CPUs for all\n"
    )
    head = ["way", "streams", "offered tokens/s", "tokens/s", "first p50 ms", "first p99 ms", "added p99 ms"]
    rows = []
    for each in measured:
        alone = next(one for one in measured if (one.way, one.streams) == (DIRECT, each.streams))
        added = 1000 * (each.first_p99 - alone.first_p99)
        rows.append(
            [
                *(each.way, each.streams, each.offered, each.tokens_per_second),
                *(f"{1000 * value:.1f}" for value in (each.first_p50, each.first_p99)),
                "-" if each is alone else f"{added:.1f}",
                "-" if each.cpu_per_1000_tokens is None else f"{each.cpu_per_1000_tokens:.3f}",
                "-" if each.health_longest is None else f"{1000 * each.health_longest:.0f}",
                each.unfinished,
            ]
        )
    report.show(report.table([*head, "CPU s / 1,000 tokens", "longest health ms", "unfinished"], rows) + "\n")
    for each, row in zip(measured, rows, strict=True):
        if each.way == NODE and each.health_longest is not None:
            health = f"{1000 * each.health_longest:.0f} ms"
            report.show(
                report.goal(
                    f"{each.streams} streams add at most {GOAL_ADDED_MS:g} ms to the first token's p99 ({row[6]})",
                    met=float(str(row[6])) < GOAL_ADDED_MS and not each.unfinished,
                )
            )
            report.show(
                report.goal(
                    f"{each.streams} streams delay a health check by at most {GOAL_HEALTH_SECONDS:g} s ({health})",
                    met=each.health_longest < GOAL_HEALTH_SECONDS,
                )
            )
