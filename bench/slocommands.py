"""The benchmarks of pipelines under an SLO, on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, get_args

import typer

from bench import pipeline as pipeline_bench
from bench.options import Bus, Json, Which, decimals
from policy.slo.pipeline import PolicyName

EXAMPLE = Path(__file__).parent.parent / "examples" / "pipelines" / "two.yaml"

app = typer.Typer()


@app.command()
def pipeline(
    *,
    bus: Bus = Which.postgres,
    file: Annotated[Path, typer.Option("--pipeline", metavar="FILE", help="A pipeline of any shape.")] = EXAMPLE,
    workers: Annotated[int, typer.Option(min=1, max=16, help="Worker processes of each stage.")] = 2,
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


def policies_of(text: str) -> list[PolicyName]:
    """Those that are named, separated by commas. Raises `typer.BadParameter`."""
    known: tuple[PolicyName, ...] = get_args(PolicyName)
    named = [each.strip() for each in text.split(",")]
    if wrong := [each for each in named if each not in known]:
        raise typer.BadParameter(f"{wrong[0]!r} is none of {', '.join(known)}", param_hint="--policies")
    return [name for name in known if name in named]
