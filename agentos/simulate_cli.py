"""The command of the simulator."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agentos.tasks_cli import AsJson
from policy.slo.planner import HOP_SECONDS

app = typer.Typer()


@app.command()
def simulate(
    *,
    pipeline: Annotated[Path, typer.Option(metavar="FILE", help="A pipeline in YAML; - reads standard input.")],
    policy: Annotated[
        str | None, typer.Option(help="none, lazy, nexus, pard or agentos; default: the pipeline's.")
    ] = None,
    rate: Annotated[float | None, typer.Option(help="Requests a second; of a trace: as recorded.")] = None,
    load: Annotated[float | None, typer.Option(metavar="X", help="Instead of --rate: times the capacity.")] = None,
    arrivals: Annotated[str, typer.Option(help="poisson or gamma.")] = "poisson",
    burstiness: Annotated[float, typer.Option(help="gamma: its shape; under 1 is burstier than Poisson.")] = 0.25,
    trace: Annotated[Path | None, typer.Option(metavar="FILE", help="Arrivals from a CSV file.")] = None,
    seconds: Annotated[float | None, typer.Option(help="How long requests arrive; of a trace: all.")] = None,
    requests: Annotated[int | None, typer.Option(min=1, help="How many at most.")] = None,
    workers: Annotated[
        list[str] | None, typer.Option(metavar="STAGE=N", help="Of one stage; default: as the rate needs.")
    ] = None,
    planner: Annotated[bool, typer.Option("--planner", help="The planner changes workers and batches.")] = False,
    users: Annotated[str, typer.Option(metavar="PARTS", help="Several users; their parts of the load: 8,1,1.")] = "",
    hop_seconds: Annotated[float, typer.Option(min=0, help="From a gate to a worker and back.")] = HOP_SECONDS,
    jitter: Annotated[float, typer.Option(min=0, help="Of a batch's seconds: deviation of their logarithm.")] = 0.0,
    seed: Annotated[int, typer.Option(help="The same again.")] = 0,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Goodput and workers over time, as SVG or PNG.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Simulate a pipeline under a load, with the fleet's own rules."""
    from agentos.simulate import Run, run_simulate

    run = Run(
        pipeline=pipeline,
        policy=policy,
        rate=rate,
        load=load,
        arrivals=arrivals,
        burstiness=burstiness,
        trace=trace,
        seconds=seconds,
        requests=requests,
        workers=workers or [],
        planner=planner,
        users=users,
        hop=hop_seconds,
        jitter=jitter,
        seed=seed,
        plot=plot,
    )
    run_simulate(run, as_json=as_json)
