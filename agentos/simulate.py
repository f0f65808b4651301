"""What `agentos simulate` does and prints."""

from __future__ import annotations

import itertools
import math
import time
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import msgspec
import typer

from agentos.load_plan import arrivals_of, read_trace
from agentos.pipeline_files import read_pipeline
from agentos.printing import print_json, print_table
from core.errors import ConfigurationError
from policy.slo.pipeline import Pipeline, PolicyName
from policy.slo.planner import StagePlan, plan
from workload.simulator.capacity import capacity, fixed
from workload.simulator.figures import Figures, StageFigures
from workload.simulator.simulate import simulate

# Where neither --seconds nor --requests says how much.
SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Run:
    """The options of `agentos simulate`, by their names."""

    pipeline: Path
    policy: str | None
    rate: float | None
    load: float | None
    arrivals: str
    burstiness: float
    trace: Path | None
    seconds: float | None
    requests: int | None
    workers: list[str]
    planner: bool
    users: str
    hop: float
    jitter: float
    seed: int
    plot: Path | None


class Setting(msgspec.Struct, frozen=True):
    """What was simulated. `capacity`: requests a second; `rate`: those that were offered; `plans`: at the start."""

    pipeline: str
    slo_seconds: float
    capacity: float
    rate: float
    plans: Mapping[str, StagePlan]


def run_simulate(run: Run, *, as_json: bool) -> None:
    """Raises `ConfigurationError`."""
    _check(run)
    pipeline = read_pipeline(run.pipeline)
    policy = _policy(run.policy or pipeline.policy)
    plans, rate = _start(pipeline, run)
    arrivals = _arrivals(run, rate)
    began, worked = time.perf_counter(), time.process_time()
    figures, requests, changes = simulate(
        pipeline,
        arrivals,
        policy,
        plans,
        hop=run.hop,
        jitter=run.jitter,
        planner=run.planner,
        users=_parts(run.users),
        seed=run.seed,
    )
    took, worked = time.perf_counter() - began, time.process_time() - worked
    setting = Setting(pipeline.name, pipeline.slo_seconds, capacity(pipeline, plans), _mean_rate(arrivals), plans)
    if as_json:
        print_json(msgspec.to_builtins({"setting": setting, "figures": figures}, str_keys=True))
    else:
        _print(setting, figures)
    speed = f"{figures.events:,} events in {took:.1f} s: {figures.events / took:,.0f} events/s, {worked:.1f} s of CPU"
    typer.echo(f"{len(arrivals):,} requests, {speed}", err=True)
    if run.plot is not None:
        from agentos.simulate_plot import draw

        draw(run.plot, requests, plans, changes)


def _check(run: Run) -> None:
    if any(number is not None and number <= 0 for number in (run.rate, run.load, run.burstiness, run.seconds)):
        raise ConfigurationError("--rate, --load, --burstiness and --seconds are more than 0")
    if run.rate is not None and run.load is not None:
        raise ConfigurationError("--rate or --load, not both")


def _policy(name: str) -> PolicyName:
    for known in get_args(PolicyName):
        if name == known:
            return known  # type: ignore[no-any-return]
    raise ConfigurationError(f"--policy {name!r} is none of {', '.join(get_args(PolicyName))}")


def _start(pipeline: Pipeline, run: Run) -> tuple[Mapping[str, StagePlan], float | None]:
    """What there is at the start; and the rate, where it is not a trace's own.

    `--workers` says it for some stages; the others have as many as the rate needs, or, where that is said in parts of
    the capacity, as many as they may.
    """
    rate = run.rate
    if rate is None and run.load is None and run.trace is not None:
        rate = _mean_rate([each.at for each in read_trace(run.trace)])
    given = _given(pipeline, run.workers)
    if rate is None:
        workers = {stage.id: stage.workers.most for stage in pipeline.stages} | given
    else:
        planned = plan(pipeline, rate, hop=run.hop)
        if not given:
            if not planned.feasible:
                typer.echo(f"no plan fits: {planned.reason}; this is the best effort", err=True)
            return planned.stages, run.rate
        workers = {stage: each.workers for stage, each in planned.stages.items()} | given
    plans = fixed(pipeline, workers, hop=run.hop)
    return plans, (run.load or 1.0) * capacity(pipeline, plans) if rate is None else run.rate


def _given(pipeline: Pipeline, workers: Sequence[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for text in workers:
        stage, _, count = text.partition("=")
        if not count.isdecimal() or int(count) < 1:
            raise ConfigurationError(f"--workers {text!r} is not STAGE=N")
        if stage not in {each.id for each in pipeline.stages}:
            raise ConfigurationError(f"--workers {text!r}: {pipeline.name} has no stage {stage!r}")
        found[stage] = int(count)
    return found


def _arrivals(run: Run, rate: float | None) -> Sequence[float]:
    endless = run.requests is not None or run.trace is not None
    coming = arrivals_of(
        trace=run.trace,
        rate=rate,
        arrivals=run.arrivals,
        burstiness=run.burstiness,
        seconds=run.seconds or (math.inf if endless else SECONDS),
        seed=run.seed,
    )
    return array("d", (arrival.at for arrival in itertools.islice(coming, run.requests)))


def _parts(users: str) -> list[float]:
    try:
        parts = [float(part) for part in users.split(",") if part.strip()]
    except ValueError:
        parts = [0.0]
    if any(not 0 < part < math.inf for part in parts):
        raise ConfigurationError(f"--users {users!r} is not a list of numbers above 0, with commas")
    return parts


def _mean_rate(arrivals: Sequence[float]) -> float:
    return (len(arrivals) - 1) / (arrivals[-1] - arrivals[0]) if len(arrivals) > 1 else 0.0


def _print(setting: Setting, figures: Figures) -> None:
    typer.echo(
        f"{setting.pipeline}: capacity {setting.capacity:.4g} requests/s, offered {setting.rate:.4g}/s "
        f"({setting.rate / setting.capacity:.3g} times) for {figures.seconds:,.0f} s, SLO {setting.slo_seconds:g} s"
    )
    places = ", ".join(f"{name} {count:,}" for name, count in figures.dropped_at.items() if count)
    typer.echo(
        f"{figures.policy}: goodput {figures.goodput:.2%} of {figures.offered:,}, late {figures.late:,}, "
        f"dropped {figures.drop_rate:.2%}{f' ({places})' if places else ''}, "
        f"wasted {figures.wasted:.2%} of the workers' busy time"
    )
    if figures.latency is not None:
        spread = msgspec.structs.asdict(figures.latency)
        typer.echo("latency " + ", ".join(f"{name} {value:.3f}" for name, value in spread.items()) + " s")
    print_table(_HEAD, [_row(name, stage, setting.plans[name]) for name, stage in figures.stages.items()])
    for number, user in enumerate(figures.users):
        typer.echo(f"user {number}: {user.on_time / user.offered:.2%} of {user.offered:,} on time")


_HEAD = (
    "STAGE",
    "WORKERS",
    "BATCH",
    "ARRIVED",
    "SERVED",
    "DROPPED",
    "MEAN BATCH",
    "BUSY",
    "WASTED",
    "WORKER-SECONDS",
)


def _row(name: str, stage: StageFigures, start: StagePlan) -> tuple[str, ...]:
    batches = sum(stage.batches.values())
    return (
        name,
        str(start.workers),
        str(start.size),
        f"{stage.arrived:,}",
        f"{stage.served:,}",
        f"{stage.dropped:,}",
        f"{stage.served / batches:.2f}" if batches else "-",
        f"{stage.busy_seconds / stage.worker_seconds:.1%}" if stage.worker_seconds else "-",
        f"{stage.wasted_seconds / stage.busy_seconds:.1%}" if stage.busy_seconds else "-",
        f"{stage.worker_seconds:,.0f}",
    )
