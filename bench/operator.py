"""`python -m bench operator`: many AIModels at once, then a restart, beside a client that only writes the same."""

from __future__ import annotations

import asyncio
import os
import re
import time
import urllib.request
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from agentos.processes import RUN_VARIABLE
from agentos.readiness import free_port
from agentos.stack import environment
from bench import report
from bench.operatorcluster import NAMESPACE, Bare, account, bare, installed
from bench.processes import Process, cpu_seconds, running
from bench.stage import HOST, Stage, say, stage
from coordinator.operator.settings import OperatorSettings
from coordinator.operator.wanted.site import Site
from core.errors import PartError
from tests.fixtures.kubernetes import Cluster

PATIENCE = 300.0
LOOK_SECONDS = 0.2
# So many AIModels made at once are to be as they are to be within so many seconds.
MANY, LIMIT = 500, 60.0
_LOOKED_AT = re.compile(r'^agentos_operator_reconciled_total\{outcome="done"\} (\S+)$', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Round:
    """So many AIModels on a new cluster. Seconds: `posted`, until the API server had them all; `made`, until each had
    its children and its status; `restarted`, until a new operator had looked at each; `bare`, until a bare client had
    posted as many and written the same for each. `calls`: what the operator asked of the API server until `made`;
    `writes`: of the bare client. `cpu`: the operator's until `made`, in seconds.
    """

    aimodels: int
    posted: float
    made: float
    restarted: float
    bare: float
    cpu: float
    calls: int
    writes: int


def run(counts: Sequence[int], *, plots: Path, file: Path | None) -> None:
    """Measures, prints, draws, writes. Raises `PartError`."""
    rounds = []
    for count in counts:
        with stage(pulsar=False) as on, installed() as cluster:
            rounds.append(asyncio.run(_round(on, cluster, count)))
        say(f"{count} AIModels: {rounds[-1].made:.1f} s")
    _print(rounds)
    _draw(plots, rounds)
    report.write("operator", {"rounds": [asdict(each) for each in rounds]}, file)


async def _round(on: Stage, cluster: Cluster, count: int) -> Round:
    settings = _settings(on)
    async with bare(cluster) as client:
        with _operator(on, cluster, settings) as process:
            await _until(lambda: _leads(settings), "the operator leads", process)
            asked, used, began = await client.requests(), cpu_seconds(process.pid), time.monotonic()
            namespace = await client.namespace()
            await client.make(namespace, count)
            posted = time.monotonic() - began
            await _until(lambda: client.whole(namespace, count), f"{count} AIModels have a status", process)
            made = time.monotonic() - began
            calls, cpu = await client.requests() - asked, cpu_seconds(process.pid) - used
            await client.must_be_whole(namespace, count)
        began = time.monotonic()
        with _operator(on, cluster, settings) as process:
            await _until(lambda: _has_looked(settings, count), f"it has looked at {count} AIModels", process)
            restarted = time.monotonic() - began
        seconds, writes = await _written(client, namespace, count, settings)
    return Round(count, posted, made, restarted, seconds, cpu, calls, writes)


async def _written(client: Bare, namespace: str, count: int, settings: OperatorSettings) -> tuple[float, int]:
    """Seconds and writes of the bare client. No operator is there."""
    status = (await client.whole(namespace, count) or [])[0]["status"]
    site = Site(worker_image=settings.worker_image, res_topic_name="results", bus_url=settings.bus_url)
    began = time.monotonic()
    models = await client.make(await client.namespace(), count)
    writes = await client.write(models, status, site)
    return time.monotonic() - began, sum(writes)


def _settings(on: Stage) -> OperatorSettings:
    return OperatorSettings(
        worker_image="agentos:bench",
        lease_namespace=NAMESPACE,
        port=free_port(HOST, 0),
        **on.addresses("postgres"),
    )


@contextmanager
def _operator(on: Stage, cluster: Cluster, settings: OperatorSettings) -> Iterator[Process]:
    """A process with the rights of its service account."""
    given = environment(settings, os.environ) | {RUN_VARIABLE: os.environ[RUN_VARIABLE]}
    given |= {"KUBECONFIG": str(account(cluster))}
    with running("operator", ["-m", "agentos", "operator"], given, on.directory) as process:
        yield process


async def _until(look: Callable[[], Awaitable[object]], what: str, process: Process) -> None:
    deadline = time.monotonic() + PATIENCE
    while not await look():
        process.must_live()
        if time.monotonic() > deadline:
            raise PartError(f"not within {PATIENCE:g} s: {what}")
        await asyncio.sleep(LOOK_SECONDS)


async def _leads(settings: OperatorSettings) -> bool:
    return "agentos_operator_leads 1.0" in await asyncio.to_thread(_metrics, settings)


async def _has_looked(settings: OperatorSettings, count: int) -> bool:
    found = _LOOKED_AT.search(await asyncio.to_thread(_metrics, settings))
    return found is not None and float(found[1]) >= count


def _metrics(settings: OperatorSettings) -> str:
    """Empty while it does not answer."""
    try:
        with urllib.request.urlopen(f"http://{HOST}:{settings.port}/metrics", timeout=10) as response:
            text: bytes = response.read()
    except OSError:
        return ""
    return text.decode()


def _print(rounds: Sequence[Round]) -> None:
    report.show("AIModels made at once; seconds until all have children and status; requests to the API server\n")
    head = ["AIModels", "posted s", "made s", "restarted s", "bare client s", "made to bare", "CPU s", "CPU ms each"]
    rows = [
        [
            f"{each.aimodels}",
            *(each.posted, each.made, each.restarted, each.bare, each.made / each.bare),
            *(each.cpu, 1000 * each.cpu / each.aimodels, each.calls / each.aimodels, each.writes / each.aimodels),
        ]
        for each in rounds
    ]
    report.show(report.table([*head, "requests each", "bare client's"], rows))
    report.show("")
    for each in rounds:
        if each.aimodels >= MANY:
            words = f"{each.aimodels} AIModels as they are to be within {LIMIT:g} s ({each.made:.1f})"
            report.show(report.goal(words, met=each.made <= LIMIT))


def _draw(directory: Path, rounds: Sequence[Round]) -> None:
    """Writes `operator.svg`."""
    directory.mkdir(parents=True, exist_ok=True)
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    counts = [each.aimodels for each in rounds]
    axes.plot(counts, [each.made for each in rounds], label="made at once", color="tab:red", marker=".")
    axes.plot(counts, [each.restarted for each in rounds], label="restarted operator", color="tab:blue", marker=".")
    axes.plot(counts, [each.bare for each in rounds], label="bare client", color="tab:gray", marker=".")
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("AIModels")
    axes.set_ylabel("seconds")
    axes.legend()
    with matplotlib.rc_context({"svg.hashsalt": "operator", "svg.fonttype": "none"}):
        figure.savefig(directory / "operator.svg", metadata={"Date": None})
