"""What `agentos load` does."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import msgspec
import typer

from agentos.load_plan import Load, arrivals_of, check
from agentos.load_show import print_load, print_pipeline_load
from agentos.load_targets import Target, target_of
from agentos.on_gateway import EXIT_FAILED, EXIT_INTERRUPTED, on_gateway
from agentos.printing import print_json
from workload.client import Client
from workload.exposition import exposition
from workload.liveview import LiveView
from workload.openloop import OpenLoop
from workload.pipeline_report import PipelineReport
from workload.report import Report
from workload.snapshot import Snapshot, Watch
from workload.tensorboard import event_files

# How often it is told how it goes.
LOOK_SECONDS = 1.0


def run_load(url: str, plan: Load, *, as_json: bool) -> int:
    """Returns the exit code: 1 where nothing was answered, 130 after Ctrl-C, which ends it early.

    Raises `ConfigurationError`, `GatewayRefused`, `GatewayUnavailable`.
    """
    check(plan)
    arrivals = arrivals_of(
        trace=plan.trace,
        rate=plan.rate,
        arrivals=plan.arrivals,
        burstiness=plan.burstiness,
        seconds=plan.seconds,
        seed=plan.seed,
    )

    async def action(client: Client) -> tuple[Report | PipelineReport, bool]:
        target = await target_of(client, plan)
        loop = OpenLoop(target.send)
        interrupted = False
        try:
            async with _told(loop, target, plan):
                await loop.run(arrivals, drain_seconds=plan.drain)
        except asyncio.CancelledError:
            interrupted = True
        await target.look()
        return target.report(loop.outcomes), interrupted

    figures, interrupted = on_gateway(url, action)
    answered = _print(figures, as_json=as_json)
    return EXIT_INTERRUPTED if interrupted else 0 if answered else EXIT_FAILED


@contextlib.asynccontextmanager
async def _told(loop: OpenLoop, target: Target, plan: Load) -> AsyncIterator[None]:
    """Tells whoever was asked for how it goes, each second and at the end."""
    with contextlib.ExitStack() as stack:
        hear: list[Callable[[Snapshot], None]] = [stack.enter_context(LiveView(target.title))]
        if plan.tensorboard is not None:
            hear.append(stack.enter_context(event_files(plan.tensorboard)))
        if plan.metrics_port is not None:
            port, take = stack.enter_context(exposition(plan.metrics_port))
            typer.echo(f"metrics: http://127.0.0.1:{port}/metrics", err=True)
            hear.append(take)
        watch = Watch(target.slo_seconds)

        def tell() -> None:
            now = watch.look(loop.now(), loop.sent, loop.outcomes, target.stages)
            for each in hear:
                each(now)

        async with asyncio.TaskGroup() as group:
            telling = group.create_task(_tell(tell, target))
            try:
                yield
            finally:
                telling.cancel()
                tell()


async def _tell(tell: Callable[[], None], target: Target) -> None:
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        await target.look()
        tell()


def _print(figures: Report | PipelineReport, *, as_json: bool) -> int:
    """How many were answered."""
    if as_json:
        print_json(msgspec.to_builtins(figures))
    if isinstance(figures, PipelineReport):
        if not as_json:
            print_pipeline_load(figures)
        return figures.on_time + figures.late
    if not as_json:
        print_load(figures)
    return figures.answered
