"""What `agentos load` is asked to do."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from core.errors import ConfigurationError
from workload.arrivals import Arrival, at_rate, gamma, poisson, trace, within


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


def checked(plan: Load) -> Load:
    """Raises `ConfigurationError` where the options make no sense, or not together."""
    if any(number is not None and number <= 0 for number in (plan.rate, plan.burstiness, plan.seconds, plan.slo)):
        raise ConfigurationError("--rate, --burstiness, --seconds and --slo are more than 0")
    if plan.pipeline is not None and (plan.tasks is not None or plan.stream):
        raise ConfigurationError("--pipeline goes neither with --tasks nor with --stream")
    return plan


def arrivals_of(plan: Load) -> Iterable[Arrival]:
    """Those of its time. Raises `ConfigurationError`."""
    if plan.trace is not None:
        try:
            recorded = trace(plan.trace.read_text().splitlines())
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{plan.trace}: {error}") from None
        return within(recorded if plan.rate is None else at_rate(recorded, plan.rate), plan.seconds)
    if plan.rate is None:
        raise ConfigurationError("say --rate, in requests a second, or --trace, a file of arrivals")
    rng = random.Random(plan.seed)
    match plan.arrivals:
        case "poisson":
            return within(poisson(plan.rate, rng), plan.seconds)
        case "gamma":
            return within(gamma(plan.rate, plan.burstiness, rng), plan.seconds)
    raise ConfigurationError(f"--arrivals {plan.arrivals!r} is neither poisson nor gamma")
