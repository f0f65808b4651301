"""What `agentos load` prints at its end."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import typer

from agentos.printing import print_table
from workload.pipeline_report import PipelineReport, StageReport
from workload.report import Report, Spread


def print_load(figures: Report) -> None:
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


def print_pipeline_load(figures: PipelineReport) -> None:
    """Of a load on a pipeline."""
    typer.echo(
        f"offered {figures.offered:,} ({figures.offered_per_second:.2f}/s) to {figures.pipeline} in "
        f"{figures.seconds:.1f} s, policy {figures.policy}"
    )
    if figures.goodput is not None:
        typer.echo(f"goodput {figures.goodput:.2%}: within {figures.slo_seconds:g} s, of all offered")
    typer.echo(f"on time {figures.on_time:,}, late {figures.late:,}{_counts('dropped', figures.dropped)}")
    for name, count in figures.failed.items():
        typer.echo(f"failed {count:,}: {name}")
    rows = [("latency", figures.latency), ("sent late", figures.sent_late)]
    print_table(("SECONDS", *_FIGURES), [_row(name, spread) for name, spread in rows if spread is not None])
    print_table(_STAGE, [_stage_row(name, stage) for name, stage in figures.stages.items()])


_STAGE = ("STAGE", "SERVED", "DROPPED", "SECONDS", "WASTED", "QUEUE", "BATCH WAIT", "SERVICE", "WORKER SECONDS")


def _counts(name: str, counts: Mapping[str, int]) -> str:
    places = ", ".join(f"{count:,} at {where}" for where, count in counts.items())
    return f", {name} {sum(counts.values()):,}" + (f" ({places})" if places else "")


def _stage_row(name: str, stage: StageReport) -> tuple[str, ...]:
    waits = (stage.queue_wait, stage.batch_wait, stage.service, stage.worker_seconds)
    worked = (f"{stage.seconds:.2f}", f"{stage.wasted_seconds:.2f}")
    told = ("-" if seconds is None else f"{seconds:.3f}" for seconds in waits)
    return name, f"{stage.requests:,}", f"{stage.dropped:,}", *worked, *told
