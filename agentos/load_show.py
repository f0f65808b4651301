"""What `agentos load` and `agentos synthetic` do and print."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec
import typer

from agentos.graph_files import read_graph
from agentos.on_gateway import EXIT_FAILED, EXIT_INTERRUPTED, on_gateway
from agentos.printing import print_json, print_table
from agentos.progress import Progress
from core.errors import ConfigurationError
from workload.arrivals import Arrival, at_rate, gamma, poisson, trace, within
from workload.client import Client
from workload.openloop import OpenLoop
from workload.progress import Bar
from workload.report import Report, Spread, report
from workload.senders import Chats, Submissions
from workload.shapes import Synthetic
from workload.synthetic import Ran, run

MOCK = "agentos-mock"
# How often the terminal shows how it goes, in seconds.
LOOK_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Load:
    """The options of `agentos load`, by their names."""

    rate: float | None
    arrivals: str
    burstiness: float
    trace: Path | None
    seconds: float
    drain: float
    slo: float | None
    stream: bool
    tasks: Path | None
    model: str
    seed: int | None


def run_load(url: str, plan: Load, *, as_json: bool) -> int:
    """Returns the exit code, as both do: 1 where nothing was answered, 130 after Ctrl-C, which ends it early.

    Raises `ConfigurationError`, `GatewayUnavailable`.
    """
    arrivals = arrivals_of(plan)
    graph = read_graph(plan.tasks) if plan.tasks is not None else None

    async def action(client: Client) -> tuple[Report, bool]:
        mock = await _serves(client, plan.model) if graph is None else False
        chats = Chats(client.door, plan.model, stream=plan.stream, mock=mock)
        loop = OpenLoop(chats if graph is None else Submissions(client, graph))
        try:
            async with _shown(loop):
                await loop.run(arrivals, drain_seconds=plan.drain)
        except asyncio.CancelledError:
            return report(loop.outcomes, slo_seconds=plan.slo), True
        return report(loop.outcomes, slo_seconds=plan.slo), False

    figures, interrupted = on_gateway(url, action)
    if as_json:
        print_json(msgspec.to_builtins(figures))
    else:
        _print_report(figures)
    return EXIT_INTERRUPTED if interrupted else 0 if figures.answered else EXIT_FAILED


def run_synthetic(url: str, application: Synthetic, *, as_json: bool) -> int:
    """Raises `TaskFailed`, `BadMessage`, `ConfigurationError`, `GatewayUnavailable`."""

    async def action(client: Client) -> Ran:
        if not await _serves(client, application.model):
            raise ConfigurationError(f"{application.model!r} is served by no mock worker, which makes the data")
        with Bar(str(application.structure)) as bar:
            return await run(client, application, lambda ended: bar.show(ended, application.tasks))

    try:
        ran = on_gateway(url, action)
    except KeyboardInterrupt:
        typer.echo("interrupted; what was submitted goes on: agentos tasks", err=True)
        return EXIT_INTERRUPTED
    if as_json:
        print_json(msgspec.to_builtins(ran))
    else:
        typer.echo(
            f"{ran.structure}: {ran.tasks:,} tasks in {ran.seconds:.2f} s, {ran.tasks_per_second:,.1f} tasks/s"
        )
    return 0


def arrivals_of(plan: Load) -> Iterable[Arrival]:
    """Those of its time. Raises `ConfigurationError`."""
    if any(number is not None and number <= 0 for number in (plan.rate, plan.burstiness, plan.seconds, plan.slo)):
        raise ConfigurationError("--rate, --burstiness, --seconds and --slo are more than 0")
    if plan.trace is not None:
        try:
            recorded = trace(plan.trace.read_text().splitlines())
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{plan.trace}: {error}") from None
        return within(recorded if plan.rate is None else at_rate(recorded, plan.rate), plan.seconds)
    if plan.rate is None:
        raise ConfigurationError("say --rate, in requests a second, or --trace, a file of arrivals")
    rng = random.Random(plan.seed)
    match plan.arrivals:
        case "poisson":
            return within(poisson(plan.rate, rng), plan.seconds)
        case "gamma":
            return within(gamma(plan.rate, plan.burstiness, rng), plan.seconds)
    raise ConfigurationError(f"--arrivals {plan.arrivals!r} is neither poisson nor gamma")


async def _serves(client: Client, model: str) -> bool:
    """Whether it is a mock. Raises `ConfigurationError` where nobody has ever served it."""
    models = await client.models()
    if model not in models:
        raise ConfigurationError(
            f"the gateway does not know the model {model!r}; it knows {', '.join(models) or 'none'}"
        )
    return models[model] == MOCK


@asynccontextmanager
async def _shown(loop: OpenLoop) -> AsyncIterator[None]:
    """Tells on a terminal how it goes."""
    progress = Progress()
    telling = asyncio.create_task(_tell(loop, progress)) if progress.moves else None
    try:
        yield
    finally:
        progress.done()
        if telling is not None:
            telling.cancel()
            with suppress(asyncio.CancelledError):
                await telling


async def _tell(loop: OpenLoop, progress: Progress) -> None:
    while True:
        so_far = report(loop.outcomes)
        failed = sum(so_far.failed.values())
        latency = (
            f", latency p50 {so_far.latency.p50:.3f} s, p99 {so_far.latency.p99:.3f} s" if so_far.latency else ""
        )
        open_now = loop.sent - so_far.offered
        progress.step(f"{loop.sent} sent, {so_far.answered} answered, {failed} failed, {open_now} open{latency}")
        await asyncio.sleep(LOOK_SECONDS)


def _print_report(figures: Report) -> None:
    typer.echo(
        f"offered {figures.offered:,} ({figures.offered_per_second:.2f}/s), "
        f"answered {figures.answered:,} ({figures.answered_per_second:.2f}/s) in {figures.seconds:.1f} s"
    )
    for name, count in figures.failed.items():
        typer.echo(f"failed {count:,}: {name}")
    if figures.attainment is not None:
        typer.echo(f"within {figures.slo_seconds:g} s: {figures.attainment:.2%} of all offered")
    rows = [("latency", figures.latency), ("first token", figures.first_token), ("sent late", figures.late)]
    print_table(("SECONDS", *_FIGURES), [_row(name, spread) for name, spread in rows if spread is not None])


_FIGURES = ("MEAN", "P50", "P90", "P95", "P99", "MAX")


def _row(name: str, spread: Spread) -> tuple[str, ...]:
    return name, *(f"{value:.3f}" for value in msgspec.structs.astuple(spread))
