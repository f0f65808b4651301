"""What `agentos pipelines` does and prints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from agentos.on_gateway import on_gateway
from agentos.pipeline_files import read_pipeline
from agentos.printing import print_json, print_table
from workload.gateway_figures import StageFigures, figures_of

Object = dict[str, Any]


def run_apply(url: str, file: Path, *, as_json: bool) -> None:
    """Raises `ConfigurationError`, `GatewayRefused`, `GatewayUnavailable`."""
    pipeline = read_pipeline(file)
    kept = on_gateway(url, lambda client: client.apply(pipeline))
    if as_json:
        print_json(kept)
    else:
        typer.echo(f"{pipeline.name} is there, with {len(pipeline.stages)} stages")


def run_list(url: str, *, as_json: bool) -> None:
    """Raises `GatewayUnavailable`."""
    found = on_gateway(url, lambda client: client.pipelines())
    if as_json:
        print_json(found)
    elif found:
        print_table(("PIPELINE", "POLICY", "SLO", "STAGES"), map(_row, found))
    else:
        typer.echo("no pipelines")


def run_show(url: str, name: str, *, as_json: bool) -> None:
    """Raises `GatewayRefused`, `GatewayUnavailable`."""
    pipeline = on_gateway(url, lambda client: client.pipeline(name))
    if as_json:
        print_json(pipeline)
        return
    print_table(("PIPELINE", "POLICY", "SLO", "STAGES"), [_row(pipeline)])
    if (told := _told(pipeline.get("figures") or {})) is not None:
        typer.echo(told)
    typer.echo()
    figures = figures_of(pipeline)
    print_table(_STAGE, [_stage_row(stage, figures.get(stage["id"], StageFigures())) for stage in pipeline["stages"]])


def run_delete(url: str, name: str, *, as_json: bool) -> None:
    """Raises `GatewayRefused`, `GatewayUnavailable`."""
    on_gateway(url, lambda client: client.delete(name))
    if as_json:
        print_json({"name": name, "deleted": True})
    else:
        typer.echo(f"{name} is gone")


_STAGE = ("STAGE", "MODEL", "AFTER", "WORKERS", "BATCH", "WAITING", "OUTSTANDING", "ARRIVED", "SERVED", "DROPPED")


def _row(pipeline: Object) -> tuple[str, ...]:
    stages = ", ".join(stage["id"] for stage in pipeline["stages"])
    return pipeline["name"], pipeline.get("policy", "agentos"), f"{pipeline['slo_seconds']:g} s", stages


def _told(figures: Object) -> str | None:
    """None where nothing was offered."""
    if not figures.get("offered"):
        return None
    counts = ", ".join(f"{figures[name]:,} {name.replace('_', ' ')}" for name in _COUNTS)
    return f"at this gateway: {counts}, goodput {figures['goodput']:.1%}"


_COUNTS = ("offered", "on_time", "late", "dropped", "failed")


def _stage_row(stage: Object, now: StageFigures) -> tuple[str, ...]:
    counts = (now.workers, now.batch_size, now.waiting, now.outstanding, now.arrived, now.served, now.dropped)
    return stage["id"], stage["model"], ", ".join(stage.get("after", [])) or "-", *(f"{each:,}" for each in counts)
