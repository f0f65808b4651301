"""`python -m bench local`: tokens/s of a local model through a worker, beside the same llama.cpp server directly."""

from __future__ import annotations

import asyncio
import itertools
import statistics
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import aiohttp
import msgspec
import psutil
import uvloop

from agentos.parts.tiny_model import write_tiny_model
from bench import report
from bench.node import Node, asker, closed_loop, node
from bench.stage import HOST, BusName, Stage, say, stage
from core.errors import PartError

# Of the model with random weights, which is to compute for longer than the road to it takes.
LAYERS, WIDTH = 4, 256
SLOTS = 4
# Requests that wait for the worker; it calls llama.cpp as the direct clients do, a slot each.
WAITING = 2 * SLOTS
GOAL_RATIO = 0.95
CALL_SECONDS = 300.0
DIRECT, NODE = "llama.cpp directly", "worker"


@dataclass(frozen=True, slots=True)
class Measured:
    """One turn of one way; `tokens` are those that the model generated."""

    way: str
    requests: int
    tokens: int
    seconds: float

    @property
    def tokens_per_second(self) -> float:
        """Of all slots together."""
        return self.tokens / self.seconds


def run(bus: BusName, *, requests: int, tokens: int, turns: int, model: Path | None, file: Path | None) -> None:
    """Measures, prints, writes. Raises `PartError`."""
    measured: list[Measured] = []
    body = {"messages": [{"role": "user", "content": "Go on."}], "max_tokens": tokens, "ignore_eos": True}
    bodies = itertools.repeat(msgspec.json.encode({"model": "bench", **body}))
    with stage(pulsar=bus == "pulsar") as on:
        if model is None:
            model = on.directory / "tiny.gguf"
            write_tiny_model(model, layers=LAYERS, width=WIDTH)
        with node(on, bus, node_type="local", model_file=str(model), max_process_num=SLOTS) as worker:
            address = _server(worker)
            for number in range(turns + 1):
                # In turn, and the other way round every second time; the first turn warms up.
                ways = [DIRECT, NODE] if number % 2 else [NODE, DIRECT]
                for way in ways:
                    each = _turn(on, bus, worker, address, way, bodies, requests)
                    say(f"turn {number} of {turns}, {way}: {each.tokens_per_second:,.0f} tokens/s")
                    measured += [each] if number else []
    _print(measured, tokens, bus)
    report.write("local", {"bus": bus, "max_tokens": tokens, "turns": [asdict(each) for each in measured]}, file)


def _server(worker: Node) -> str:
    """The address of the worker's own model process."""
    for child in psutil.Process(worker.process.pid).children(recursive=True):
        line = child.cmdline()
        if "--parallel" in line:
            return f"http://{HOST}:{line[line.index('--port') + 1]}"
    raise PartError("the worker has started no model process")


def _turn(
    on: Stage, bus: BusName, worker: Node, address: str, way: str, bodies: Iterator[bytes], requests: int
) -> Measured:
    began = time.monotonic()
    if way == DIRECT:
        answers = uvloop.run(_directly(address, bodies, requests))
    else:
        answers = uvloop.run(_through(on, bus, worker, bodies, requests))
    worker.process.must_live()
    used = sum(int(msgspec.json.decode(each)["usage"]["completion_tokens"]) for each in answers)
    return Measured(way, len(answers), used, time.monotonic() - began)


async def _directly(address: str, bodies: Iterator[bytes], requests: int) -> list[bytes]:
    answers: list[bytes] = []
    left = iter(range(requests))

    async def client(session: aiohttp.ClientSession) -> None:
        for _ in left:
            async with session.post("/v1/chat/completions", data=next(bodies), headers=headers) as response:
                answer = await response.read()
                if response.status != 200:
                    raise PartError(f"llama.cpp answers with status {response.status}")
                answers.append(answer)

    headers = {"content-type": "application/json"}
    async with aiohttp.ClientSession(address, timeout=aiohttp.ClientTimeout(total=CALL_SECONDS)) as session:
        await asyncio.gather(*(client(session) for _ in range(min(SLOTS, requests))))
    return answers


async def _through(on: Stage, bus: BusName, worker: Node, bodies: Iterator[bytes], requests: int) -> list[bytes]:
    async with asker(on, bus, worker.model) as asking:
        done = await closed_loop(asking, bodies, at_once=WAITING, count=requests, stream=False)
    return [each.data for each in done]


def _print(measured: list[Measured], tokens: int, bus: BusName) -> None:
    turns = len(measured) // 2
    report.show(
        f"Plain requests of {tokens} tokens, {SLOTS} slots, all of them busy; worker NODE_TYPE=local on {bus}, and "
        f"its own llama.cpp server directly, in turn; medians of {turns} turn(s)\n"
    )
    of = {way: [each for each in measured if each.way == way] for way in (DIRECT, NODE)}
    rate = {way: statistics.median(each.tokens_per_second for each in turns) for way, turns in of.items()}
    requests = {way: statistics.median(each.requests / each.seconds for each in turns) for way, turns in of.items()}
    rows = [
        [
            *(way, rate[way], f"{requests[way]:.2f}"),
            f"{min(each.tokens_per_second for each in of[way]):,.0f} to "
            f"{max(each.tokens_per_second for each in of[way]):,.0f}",
            f"{rate[way] / rate[DIRECT]:.3f}",
        ]
        for way in (DIRECT, NODE)
    ]
    report.show(report.table(["way", "tokens/s", "requests/s", "least to most tokens/s", "of directly"], rows) + "\n")
    ratio = rate[NODE] / rate[DIRECT]
    report.show(
        report.goal(f"through the worker at least {GOAL_RATIO:g} of directly ({ratio:.3f})", met=ratio >= GOAL_RATIO)
    )
