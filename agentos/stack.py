"""Which processes `agentos up` starts, and with which settings. Decides only: starts nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from agentos.children import ChildSpec
from agentos.processes import RUN_VARIABLE, Run
from agentos.up_settings import UpSettings
from coordinator.settings import CoordinatorSettings
from core.errors import ConfigurationError
from core.settings import CONFIG_FILE, PREFIX, Settings, load
from policy.slo.pipeline import Pipeline, Stage
from workernode.settings import WorkerSettings

# From a daemon's own limit for a graceful end to SIGKILL.
KILL_AFTER_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the real parts answer. Of the bus's addresses either the Pulsar or the Postgres ones are empty."""

    database: str
    bus: str = ""
    worker_bus: str = ""
    pulsar: str = ""
    pulsar_admin: str = ""


def models(settings: UpSettings, pipelines: Iterable[Pipeline]) -> list[str]:
    """The models that will be served from the start."""
    plain = [name for name, wanted in (("mock", settings.mock), ("local", settings.local)) if wanted]
    return plain + [stage.model for each in pipelines for stage in each.stages if stage.workers.least]


def coordinator(settings: UpSettings, addresses: Addresses, run: Run) -> ChildSpec:
    """The coordinator's process. Raises `ConfigurationError`."""
    own = load(
        CoordinatorSettings,
        also_known=(UpSettings, WorkerSettings),
        host=settings.host,
        port=settings.port,
        database_url=addresses.database,
        bus_url=addresses.bus,
        **_broker(settings, addresses),
    )
    return _spec("coordinator", "coordinator", own, own.grace_seconds, run)


def worker(name: str, settings: UpSettings, addresses: Addresses, run: Run, model_file: Path | None) -> ChildSpec:
    """A worker's process, for the model `name`; local with a model file, else mock. Raises `ConfigurationError`."""
    own = load(
        WorkerSettings,
        also_known=(UpSettings, CoordinatorSettings),
        node_type="local" if model_file else "mock",
        model_name=name,
        model_file=str(model_file or ""),
        api_url="",
        api_key="",
        host="127.0.0.1",
        port=0,
        bus_url=addresses.worker_bus,
        **_broker(settings, addresses),
    )
    return _spec(f"worker-{name}", "worker", own, own.grace_seconds, run)


def stage_workers(
    pipeline: Pipeline, settings: UpSettings, addresses: Addresses, run: Run
) -> list[tuple[Stage, ChildSpec]]:
    """A worker's process for each stage, with the settings in its `run`. Raises `ConfigurationError`."""
    return [(stage, _stage_worker(pipeline, stage, settings, addresses, run)) for stage in pipeline.stages]


def _stage_worker(
    pipeline: Pipeline, stage: Stage, settings: UpSettings, addresses: Addresses, run: Run
) -> ChildSpec:
    around = dict(os.environ) | stage.run
    try:
        own = load(
            WorkerSettings,
            environ=around,
            also_known=(UpSettings, CoordinatorSettings),
            model_name=stage.model,
            host="127.0.0.1",
            port=0,
            bus_url=addresses.worker_bus,
            **_broker(settings, addresses),
        )
    except ConfigurationError as error:
        raise ConfigurationError(f"pipeline {pipeline.name}, run of stage {stage.id}: {error}") from error
    return _spec(f"worker-{pipeline.name}-{stage.id}", "worker", own, own.grace_seconds, run, around)


def bus(settings: UpSettings, addresses: Addresses) -> dict[str, str]:
    """Arguments of `bus.connect.connect`."""
    return {
        "pulsar_url": addresses.pulsar,
        "pulsar_token": settings.pulsar_token.get_secret_value() if addresses.pulsar else "",
        "pulsar_admin_url": addresses.pulsar_admin,
        "bus_url": addresses.bus,
    }


def _broker(settings: UpSettings, addresses: Addresses) -> dict[str, Any]:
    return {
        "pulsar_url": addresses.pulsar,
        "pulsar_admin_url": addresses.pulsar_admin,
        "pulsar_token": settings.pulsar_token if addresses.pulsar else "",
        "debug": settings.debug,
    }


def _spec(
    name: str, command: str, own: Settings, grace: float, run: Run, around: Mapping[str, str] = os.environ
) -> ChildSpec:
    return ChildSpec(
        name=name,
        command=(sys.executable, "-m", "agentos", command),
        environment=environment(own, around) | {RUN_VARIABLE: str(run)},
        grace=grace + KILL_AFTER_SECONDS,
    )


def environment(own: Settings, around: Mapping[str, str]) -> dict[str, str]:
    """`around` with a daemon's settings written out in full, and none of AgentOS's that are not its own.

    A settings file has been read by now; the daemon must not read in it what was decided otherwise here.
    """
    kept = {name: value for name, value in around.items() if not name.startswith(PREFIX) and name != CONFIG_FILE}
    return kept | {variable: _written(getattr(own, field)) for variable, field in own.variables().items()}


def _written(value: object) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)
