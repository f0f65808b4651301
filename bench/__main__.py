"""The command line of the benchmarks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench import fleet as fleet_bench
from bench import gateway as gateway_bench
from bench import limits as limits_bench
from bench import local as local_bench
from bench import memory as memory_bench
from bench import streams as streams_bench
from bench import worker as worker_bench
from bench.graphcommands import app as graphs
from bench.options import Bus, Json, One, OneBus, Which, numbers
from bench.report import RESULTS
from bench.slocommands import app as pipelines
from core.errors import AgentOSError

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.add_typer(graphs)
app.add_typer(pipelines)


@app.command()
def fleet(
    *,
    bus: Bus = Which.both,
    requests: Annotated[int, typer.Option(min=1, max=1_000_000, help="Requests of a round.")] = 10_000,
    workers: Annotated[int, typer.Option(min=1, max=16, help="Worker processes.")] = 1,
    rounds: Annotated[int, typer.Option(min=1, max=20, help="Rounds; medians are printed.")] = 3,
    profile: Annotated[bool, typer.Option("--profile", help="Say what the processes' time is spent on.")] = False,
    file: Json = None,
) -> None:
    """No-op requests of 1 KiB from submit to folded row, beside a raw loop of the Pulsar client."""
    fleet_bench.run(bus.buses(), requests=requests, workers=workers, rounds=rounds, profile=profile, file=file)


@app.command()
def gateway(
    *,
    bus: Bus = Which.both,
    clients: Annotated[str, typer.Option(help="How many clients at once, separated by commas.")] = "1,64,512",
    requests: Annotated[int, typer.Option(min=1, max=1_000_000, help="Requests of a line (one client: 600).")] = 3000,
    lost: Annotated[
        int, typer.Option(min=0, max=1_000_000, help="Count the replies lost of so many; 0: do not.")
    ] = 0,
    file: Json = None,
) -> None:
    """Requests/s and added latency, plain and streamed, against the same upstream called directly."""
    gateway_bench.run(bus.buses(), clients=numbers(clients, "--clients"), requests=requests, lost=lost, file=file)


@app.command()
def streams(
    *,
    bus: OneBus = One.pulsar,
    streams: Annotated[str, typer.Option(help="How many at once, separated by commas.")] = "100,300,1000",
    pace: Annotated[float, typer.Option(min=1, max=200, help="Tokens a second of each.")] = 50,
    seconds: Annotated[float, typer.Option(min=0.5, max=120, help="How long a stream is.")] = 10,
    file: Json = None,
) -> None:
    """Many paced streams in one worker process, beside a bare relay of the same streams."""
    streams_bench.run(bus.value, streams=numbers(streams, "--streams"), pace=pace, seconds=seconds, file=file)


@app.command()
def worker(
    *,
    bus: OneBus = One.pulsar,
    requests: Annotated[int, typer.Option(min=1, max=1_000_000, help="Requests of a round.")] = 5000,
    rounds: Annotated[int, typer.Option(min=1, max=20, help="Rounds; medians are printed.")] = 5,
    profile: Annotated[bool, typer.Option("--profile", help="Say what the worker's time is spent on.")] = False,
    file: Json = None,
) -> None:
    """Requests/s of one worker process on an instant upstream, beside a bare loop of the same HTTP client."""
    worker_bench.run(bus.value, requests=requests, rounds=rounds, profile=profile, file=file)


@app.command()
def memory(
    *,
    bus: OneBus = One.pulsar,
    requests: Annotated[int, typer.Option(min=10, max=10_000_000, help="Requests in all.")] = 200_000,
    file: Json = None,
) -> None:
    """What a worker process holds after very many requests."""
    memory_bench.run(bus.value, requests=requests, file=file)


@app.command()
def local(
    *,
    bus: OneBus = One.pulsar,
    requests: Annotated[int, typer.Option(min=1, max=100_000, help="Requests of a turn.")] = 32,
    tokens: Annotated[int, typer.Option(min=1, max=100_000, help="Tokens of each answer.")] = 400,
    turns: Annotated[int, typer.Option(min=1, max=50, help="Turns of both ways; medians are printed.")] = 5,
    model: Annotated[Path | None, typer.Option(metavar="GGUF", help="Default: a tiny one, random weights.")] = None,
    file: Json = None,
) -> None:
    """Tokens/s of a local model through a worker, beside the same llama.cpp server directly."""
    local_bench.run(bus.value, requests=requests, tokens=tokens, turns=turns, model=model, file=file)


@app.command()
def limits(
    *,
    bus: Bus = Which.both,
    workers: Annotated[str, typer.Option(help="How many worker processes on one key, separated by commas.")] = "1,3",
    seconds: Annotated[float, typer.Option(min=1, max=3600, help="How long each run is measured.")] = 20,
    file: Json = None,
) -> None:
    """What part of a provider's limits is used under twice the load, and how many calls it refuses."""
    limits_bench.run(bus.buses(), workers=numbers(workers, "--workers"), seconds=seconds, file=file)


@app.command()
def operator(
    *,
    aimodels: Annotated[str, typer.Option(help="How many at once, separated by commas.")] = "50,100,200,500",
    plots: Annotated[Path, typer.Option(metavar="DIR", help="The curve is drawn there.")] = RESULTS,
    file: Json = None,
) -> None:
    """AIModels made at once until all are as they are to be, and a restart, beside a client that only writes."""
    from bench import operator as operator_bench  # of the tests' own Kubernetes: needs what tests need

    operator_bench.run(numbers(aimodels, "--aimodels"), plots=plots, file=file)


def main() -> None:
    """Errors by name are one line and exit code 1."""
    try:
        app()
    except AgentOSError as error:
        typer.echo(f"bench: {error}", err=True)
        raise SystemExit(1) from error


if __name__ == "__main__":
    main()
