"""Commands of clients: task graphs, load, synthetic workflows. They speak HTTP with a gateway and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agentos.all_settings import settings_of
from workload.settings import ClientSettings
from workload.shapes import Structure, Synthetic

app = typer.Typer()

Url = Annotated[
    str | None,
    typer.Option(
        "--url", metavar="URL", help="The gateway, or several with commas (AGENTOS_URL).", show_default=False
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
TaskId = Annotated[str, typer.Argument(metavar="ID", help="As `agentos submit` prints it: task_12.")]
Outputs = Annotated[bool, typer.Option("--outputs", help="The outputs of its nodes, too.")]
Model = Annotated[str, typer.Option(help="The model that is asked.")]


def gateway_of(url: str | None) -> str:
    """The address in the option, else in the settings."""
    """As the option, the environment or the settings file says. Raises `ConfigurationError`."""
    return settings_of(ClientSettings, None, url=url).url


@app.command()
def submit(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A graph in YAML or JSON; - reads standard input.")],
    *,
    watch: Annotated[bool, typer.Option("--watch", help="Wait for its end and show what happens.")] = False,
    outputs: Outputs = False,
    key: Annotated[str | None, typer.Option(help="Idempotency-Key: the same again is the same task.")] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Submit a task graph; it is durable once its id is printed."""
    from agentos.tasks_show import run_submit

    raise typer.Exit(run_submit(gateway_of(url), file, watch=watch, outputs=outputs, key=key, as_json=as_json))


@app.command()
def tasks(
    *,
    user: Annotated[str, typer.Option(help="Of this user alone.")] = "",
    status: Annotated[str, typer.Option(help="queued, running, completed, failed, cancelled or expired.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="How many.")] = 20,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List tasks, the newest first."""
    from agentos.tasks_show import run_tasks

    raise typer.Exit(run_tasks(gateway_of(url), user=user, status=status, limit=limit, as_json=as_json))


@app.command()
def task(id: TaskId, *, outputs: Outputs = False, url: Url = None, as_json: AsJson = False) -> None:
    """Show a task and its nodes."""
    from agentos.tasks_show import run_task

    raise typer.Exit(run_task(gateway_of(url), id, outputs=outputs, as_json=as_json))


@app.command()
def cancel(id: TaskId, *, url: Url = None, as_json: AsJson = False) -> None:
    """Cancel a task: what is queued never starts, running calls are stopped."""
    from agentos.tasks_show import run_cancel

    raise typer.Exit(run_cancel(gateway_of(url), id, as_json=as_json))


@app.command()
def synthetic(
    structure: Structure,
    *,
    task_count: Annotated[int, typer.Option(min=1, help="N.")],
    task_data_bytes: Annotated[int, typer.Option(min=0, help="Random data in and out of each task.")] = 0,
    task_sleep: Annotated[float, typer.Option(min=0, help="Seconds that each task takes.")] = 0.0,
    bag_max_running: Annotated[int, typer.Option(min=1, help="bag: the most tasks at once.")] = 100,
    warmup_tasks: Annotated[int, typer.Option(min=0, help="Empty tasks that end before the clock starts.")] = 0,
    model: Model = "mock",
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Run a synthetic workflow on a mock model and print its rate."""
    from agentos.synthetic_show import run_synthetic

    application = Synthetic(
        structure=structure,
        task_count=task_count,
        task_data_bytes=task_data_bytes,
        task_sleep=task_sleep,
        bag_max_running=bag_max_running,
        warmup_tasks=warmup_tasks,
        model=model,
    )
    raise typer.Exit(run_synthetic(gateway_of(url), application, as_json=as_json))


@app.command()
def load(
    *,
    rate: Annotated[float | None, typer.Option(help="Requests a second; of a trace: as recorded.")] = None,
    arrivals: Annotated[str, typer.Option(help="poisson or gamma.")] = "poisson",
    burstiness: Annotated[float, typer.Option(help="gamma: its shape; under 1 is burstier than Poisson.")] = 0.25,
    trace: Annotated[Path | None, typer.Option(metavar="FILE", help="Arrivals, and sizes, from a CSV file.")] = None,
    seconds: Annotated[float, typer.Option(help="How long requests are sent.")] = 60.0,
    drain: Annotated[float, typer.Option(min=0, help="How long answers are waited for after that.")] = 60.0,
    slo: Annotated[
        float | None, typer.Option(help="Seconds within which an answer is wanted; else the pipeline's.")
    ] = None,
    stream: Annotated[bool, typer.Option("--stream", help="Ask for streams, to see the first token.")] = False,
    tasks: Annotated[Path | None, typer.Option(metavar="FILE", help="Submit this graph each time.")] = None,
    pipeline: Annotated[str | None, typer.Option(metavar="NAME", help="Send requests of this pipeline.")] = None,
    model: Model = "mock",
    seed: Annotated[int | None, typer.Option(help="The same arrivals again.")] = None,
    tensorboard: Annotated[Path | None, typer.Option(metavar="DIR", help="Event files for TensorBoard.")] = None,
    metrics_port: Annotated[
        int | None, typer.Option(metavar="PORT", min=0, max=65535, help="Prometheus, on 127.0.0.1, meanwhile.")
    ] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Offer load in an open loop and report latencies from when each request was due."""
    from agentos.load_plan import Load
    from agentos.load_run import run_load

    plan = Load(
        rate=rate,
        arrivals=arrivals,
        burstiness=burstiness,
        trace=trace,
        seconds=seconds,
        drain=drain,
        slo=slo,
        stream=stream,
        tasks=tasks,
        pipeline=pipeline,
        model=model,
        seed=seed,
        tensorboard=tensorboard,
        metrics_port=metrics_port,
    )
    raise typer.Exit(run_load(gateway_of(url), plan, as_json=as_json))
