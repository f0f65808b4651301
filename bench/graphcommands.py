"""The benchmarks of task graphs, on the command line."""

from __future__ import annotations

from typing import Annotated

import typer

from bench import agents as agents_bench
from bench import coordinators as coordinators_bench
from bench import fairness as fairness_bench
from bench import graphs as graphs_bench
from bench import order as order_bench
from bench import rows as rows_bench
from bench import succession as succession_bench
from bench.options import Bus, Json, One, OneBus, Which, numbers

Workers = Annotated[int, typer.Option(min=1, max=16, help="Worker processes.")]
Rounds = Annotated[int, typer.Option(min=1, max=20, help="Rounds; medians are printed.")]

app = typer.Typer()


@app.command()
def graphs(
    *,
    bus: Bus = Which.both,
    nodes: Annotated[int, typer.Option(min=100, max=100_000, help="Nodes of a structure.")] = 10_000,
    workers: Workers = 1,
    rounds: Rounds = 2,
    profile: Annotated[bool, typer.Option("--profile", help="Say what the processes' time is spent on.")] = False,
    file: Json = None,
) -> None:
    """No-op nodes a second of bag, diamond, reduce and sequential graphs, beside plain requests."""
    graphs_bench.run(bus.buses(), nodes=nodes, workers=workers, rounds=rounds, profile=profile, file=file)


@app.command()
def rows(
    *,
    bus: OneBus = One.postgres,
    counts: Annotated[
        str, typer.Option("--rows", help="Finished tasks in the store, separated by commas.")
    ] = "1000,10000,100000,1000000",
    tasks: Annotated[int, typer.Option(min=1, max=100_000, help="Tasks of 10 nodes, of a round.")] = 300,
    rounds: Rounds = 3,
    file: Json = None,
) -> None:
    """Nodes a second with ever more finished tasks in the store."""
    rows_bench.run(bus.value, rows=numbers(counts, "--rows", most=10_000_000), tasks=tasks, rounds=rounds, file=file)


@app.command()
def succession(
    *,
    bus: Bus = Which.both,
    steps: Annotated[int, typer.Option(min=10, max=10_000, help="Steps of the chain that is alone.")] = 500,
    seconds: Annotated[float, typer.Option(min=1, max=600, help="How long half of the load is offered.")] = 20,
    workers: Workers = 1,
    file: Json = None,
) -> None:
    """From the end of a node's call to the beginning of the next one's: idle, at half load, at full load."""
    succession_bench.run(bus.buses(), steps=steps, seconds=seconds, workers=workers, file=file)


@app.command()
def coordinators(
    *,
    bus: OneBus = One.postgres,
    coordinators: Annotated[str, typer.Option(help="How many, separated by commas.")] = "1,2,4",
    tasks: Annotated[int, typer.Option(min=1, max=100_000, help="Tasks of 10 nodes, of a round.")] = 1000,
    workers: Workers = 1,
    rounds: Rounds = 3,
    file: Json = None,
) -> None:
    """Nodes a second with several coordinators on the same load."""
    counts = numbers(coordinators, "--coordinators", most=16)
    coordinators_bench.run(bus.value, coordinators=counts, tasks=tasks, workers=workers, rounds=rounds, file=file)


@app.command()
def agents(
    *,
    bus: OneBus = One.pulsar,
    seconds: Annotated[float, typer.Option(min=1, max=3600, help="How long tasks arrive.")] = 180,
    every: Annotated[float, typer.Option(min=1, max=600, help="Seconds from one kill to the next.")] = 30,
    call_seconds: Annotated[float, typer.Option(min=0.01, max=60, help="Mean duration of a call.")] = 1,
    seed: int = 1,
    file: Json = None,
) -> None:
    """Five agent tasks by Poisson arrivals: mean latency while coordinators are killed, beside undisturbed."""
    agents_bench.run(bus.value, seconds=seconds, every=every, call_seconds=call_seconds, seed=seed, file=file)


@app.command()
def order(
    *,
    bus: OneBus = One.postgres,
    seeds: Annotated[int, typer.Option(min=1, max=100, help="Runs of each order.")] = 5,
    tasks: Annotated[int, typer.Option(min=1, max=10_000, help="Tasks of a run.")] = 100,
    load: Annotated[float, typer.Option(min=0.05, max=2, help="Part of the slots that the calls need.")] = 0.95,
    call_seconds: Annotated[float, typer.Option(min=0.01, max=60, help="Mean duration of a call.")] = 0.3,
    file: Json = None,
) -> None:
    """Five agent tasks by Poisson arrivals: shortest remaining first beside first come, first served."""
    order_bench.run(bus.value, seeds=seeds, tasks=tasks, load=load, call_seconds=call_seconds, file=file)


@app.command()
def fairness(
    *,
    bus: OneBus = One.postgres,
    nodes: Annotated[int, typer.Option(min=1, max=150_000, help="Nodes of the user with many.")] = 100_000,
    asks: Annotated[int, typer.Option(min=1, max=1000, help="Questions of the user with few.")] = 20,
    call_seconds: Annotated[float, typer.Option(min=0, max=60, help="Duration of a call.")] = 0.1,
    file: Json = None,
) -> None:
    """A user's first answer while another has very many nodes queued, beside that on an idle fleet."""
    fairness_bench.run(bus.value, nodes=nodes, asks=asks, call_seconds=call_seconds, file=file)
