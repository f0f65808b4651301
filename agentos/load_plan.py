"""What `agentos load` is asked to do."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from core.errors import ConfigurationError
from workload.arrivals import Arrival, at_rate, gamma, poisson, within
from workload.arrivals import trace as arrivals_in


@dataclass(frozen=True, slots=True)
class Load:
    """The options of `agentos load`, by their names."""

    rate: float | None
    arrivals: str
    burstiness: float
    trace: Path | None
    seconds: float
    drain: float
    slo: float | None
    stream: bool
    tasks: Path | None
    pipeline: str | None
    model: str
    seed: int | None
    tensorboard: Path | None
    metrics_port: int | None


def check(plan: Load) -> None:
    """Raises `ConfigurationError` where the options make no sense, or not together."""
    if any(number is not None and number <= 0 for number in (plan.rate, plan.burstiness, plan.seconds, plan.slo)):
        raise ConfigurationError("--rate, --burstiness, --seconds and --slo are more than 0")
    if plan.pipeline is not None and (plan.tasks is not None or plan.stream):
        raise ConfigurationError("--pipeline goes neither with --tasks nor with --stream")


def arrivals_of(
    *, trace: Path | None, rate: float | None, arrivals: str, burstiness: float, seconds: float, seed: int | None
) -> Iterable[Arrival]:
    """Those of the first `seconds`; a trace's as recorded, or stretched to the rate. Raises `ConfigurationError`."""
    if trace is not None:
        recorded = read_trace(trace)
        return within(recorded if rate is None else at_rate(recorded, rate), seconds)
    if rate is None:
        raise ConfigurationError("say --rate, in requests a second, or --trace, a file of arrivals")
    rng = random.Random(seed)
    match arrivals:
        case "poisson":
            return within(poisson(rate, rng), seconds)
        case "gamma":
            return within(gamma(rate, burstiness, rng), seconds)
    raise ConfigurationError(f"--arrivals {arrivals!r} is neither poisson nor gamma")


def read_trace(file: Path) -> list[Arrival]:
    """Raises `ConfigurationError`."""
    try:
        return arrivals_in(file.read_text().splitlines())
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file}: {error}") from None
