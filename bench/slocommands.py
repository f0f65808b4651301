"""The benchmarks of pipelines under an SLO, on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, get_args

import typer

from bench import pipeline as pipeline_bench
from bench import slo as slo_bench
from bench.options import Bus, Json, Which, decimals
from bench.report import RESULTS
from policy.slo.pipeline import PolicyName

EXAMPLE = Path(__file__).parent.parent / "examples" / "pipelines" / "two.yaml"

app = typer.Typer()


@app.command()
def pipeline(
    *,
    bus: Bus = Which.postgres,
    file: Annotated[Path, typer.Option("--pipeline", metavar="FILE", help="A pipeline of any shape.")] = EXAMPLE,
    workers: Annotated[int, typer.Option(min=1, max=16, help="Worker processes of each stage.")] = 1,
    policies: Annotated[str, typer.Option(help="Separated by commas.")] = "agentos",
    loads: Annotated[str, typer.Option(help="Times the capacity, separated by commas.")] = "0.8,1.2,2",
    burstiness: Annotated[float, typer.Option(min=1e-4, help="Shape of the gaps between arrivals; 1: Poisson.")] = 1,
    seconds: Annotated[float, typer.Option(min=1, max=3600, help="How long each load lasts.")] = 60,
    seed: Annotated[int, typer.Option(help="Of the arrivals.")] = 1,
    results: Json = None,
) -> None:
    """Goodput of real runs of a pipeline beside simulations of the same arrivals."""
    pipeline_bench.run(
        bus.buses(),
        pipeline=file,
        workers=workers,
        policies=policies_of(policies),
        loads=decimals(loads, "--loads"),
        burstiness=burstiness,
        seconds=seconds,
        seed=seed,
        file=results,
    )


@app.command()
def slo(
    *,
    pipelines: Annotated[
        str, typer.Option(help="Of examples/pipelines, separated by commas.")
    ] = "one,two,four,diamond",
    loads: Annotated[str, typer.Option(help="Times the capacity, separated by commas.")] = "0.8,1,1.2,1.5,2",
    requests: Annotated[int, typer.Option(min=100, max=10_000_000, help="Requests of a simulation.")] = 20_000,
    trace: Annotated[Path | None, typer.Option(metavar="FILE", help="Arrivals of a CSV file, too.")] = None,
    slo: Annotated[float, typer.Option(min=0.1, max=100, help="Times the pipelines' own SLO.")] = 1,
    seed: int = 1,
    processes: Annotated[int, typer.Option(min=1, max=64, help="Simulations at once.")] = 1,
    plots: Annotated[Path, typer.Option(metavar="DIR", help="Pictures are drawn there.")] = RESULTS,
    file: Json = None,
) -> None:
    """Every policy in simulations of pipelines, from less to twice the capacity; the planner beside a fixed fleet."""
    slo_bench.run(
        pipelines=[name.strip() for name in pipelines.split(",")],
        loads=decimals(loads, "--loads"),
        requests=requests,
        trace=trace,
        slo=slo,
        seed=seed,
        processes=processes,
        plots=plots,
        file=file,
    )


def policies_of(text: str) -> list[PolicyName]:
    """Those that are named, separated by commas. Raises `typer.BadParameter`."""
    known: tuple[PolicyName, ...] = get_args(PolicyName)
    named = [each.strip() for each in text.split(",")]
    if wrong := [each for each in named if each not in known]:
        raise typer.BadParameter(f"{wrong[0]!r} is none of {', '.join(known)}", param_hint="--policies")
    return [name for name in known if name in named]
