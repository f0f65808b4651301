"""The real parts under a bench, in a temporary directory: Postgres, Pulsar, and a fleet of AgentOS on them.

All of it ends with the block, whatever ends the block. What a SIGKILL of the bench leaves, `agentos cleanup` finds.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn

from pydantic import SecretStr

from agentos.databases import make_bus, make_database, make_worker_role
from agentos.parts.postgres import EmbeddedPostgres
from agentos.parts.pulsar import StandalonePulsar
from agentos.parts.pulsar_home import fetch_home, find_home
from agentos.processes import RUN_VARIABLE, Run
from agentos.readiness import free_port, wait_until_ready
from agentos.stack import environment
from bench.processes import Process, running
from coordinator.settings import CoordinatorSettings
from core.settings import Settings
from policy.order import Order
from store.migrate import upgrade
from workernode.settings import WorkerSettings

HOST = "127.0.0.1"
BusName = Literal["pulsar", "postgres"]


def say(text: str) -> None:
    """Progress, for a person."""
    sys.stderr.write(f"bench: {text}\n")
    sys.stderr.flush()


@dataclass(frozen=True, slots=True)
class Stage:
    """What runs. `broker` is None where the bench needs no Pulsar. `worker_bus`: the workers' own address."""

    directory: Path
    postgres: EmbeddedPostgres
    database: str
    worker_bus: str
    broker: StandalonePulsar | None

    def pids(self) -> dict[str, int]:
        """The process ids of the parts, by name."""
        found = {"postgres": self.postgres.pid}
        return found if self.broker is None else found | {"broker": self.broker.pid}

    def addresses(self, bus: BusName, *, worker: bool = False) -> dict[str, Any]:
        """Settings that name the bus."""
        if bus == "postgres":
            return {"bus_url": self.worker_bus if worker else self.database}
        assert self.broker is not None
        return {"pulsar_url": self.broker.url, "pulsar_admin_url": self.broker.admin_url}


@dataclass(frozen=True, slots=True)
class Fleet:
    """AgentOS as it runs: coordinators, each with its gateway's address, and the workers of one model."""

    gateways: list[str]
    model: str
    coordinators: list[Process]
    workers: list[Process]
    start_coordinator: Callable[[int], Process]

    def pids(self) -> dict[str, int]:
        """Process ids by name."""
        return {each.name: each.pid for each in (*self.coordinators, *self.workers)}

    def must_live(self) -> None:
        """Raises `PartError` if one of them has ended."""
        for each in (*self.coordinators, *self.workers):
            each.must_live()

    def kill_coordinator(self, number: int) -> None:
        """SIGKILLs it and starts it again at its address, without waiting until it is ready."""
        self.coordinators[number].signal(signal.SIGKILL)
        self.coordinators[number].end()
        self.coordinators[number] = self.start_coordinator(number)


@contextmanager
def stage(*, pulsar: bool) -> Iterator[Stage]:
    """Starts Postgres, and Pulsar if wanted. Raises `PartError`."""
    before = signal.signal(signal.SIGTERM, _exit)
    mark = os.environ.get(RUN_VARIABLE)
    os.environ[RUN_VARIABLE] = str(Run.new())
    with ExitStack() as stack:
        stack.callback(signal.signal, signal.SIGTERM, before)
        stack.callback(_restore_mark, mark)
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="agentos-bench-")))
        directory.chmod(0o755)  # root's embedded Postgres runs as another user
        say("starting Postgres")
        postgres = EmbeddedPostgres(directory / "postgres")
        stack.callback(postgres.stop)
        database, worker_bus = _prepare(postgres.start())
        broker = stack.enter_context(_broker(directory)) if pulsar else None
        yield Stage(directory, postgres, database, worker_bus, broker)
        say("stopping")


@contextmanager
def fleet(
    on: Stage,
    bus: BusName,
    *,
    workers: int = 1,
    coordinators: int = 1,
    order: Order = "srtf",
    profile_to: Path | None = None,
    **worker_settings: Any,
) -> Iterator[Fleet]:
    """Coordinators, which dispatch in `order`, and the workers of a new model.

    With `profile_to` each is sampled (see bench.profiled).
    """
    model = f"bench-{uuid.uuid4().hex[:8]}"
    results = f"res-{model}"
    ports = [free_port(HOST, 0) for _ in range(coordinators)]
    served = WorkerSettings(
        model_name=model,
        port=0,
        res_topic_name=results,
        grace_seconds=5,
        **on.addresses(bus, worker=True),
        **worker_settings,
    )
    with ExitStack() as stack:

        def start(part: str, name: str, settings: Settings) -> Process:
            arguments = command(part, profile_to / f"{name}.json" if profile_to else None)
            given = environment(settings, os.environ) | {RUN_VARIABLE: os.environ[RUN_VARIABLE]}
            return stack.enter_context(running(name, arguments, given, on.directory))

        def coordinator(number: int) -> Process:
            own = CoordinatorSettings(
                database_url=SecretStr(on.database),
                port=ports[number],
                res_topic_name=results,
                grace_seconds=5,
                dispatch_order=order,
                **on.addresses(bus),
            )
            return start("coordinator", f"coordinator-{number + 1}" if number else "coordinator", own)

        gateways = [f"http://{HOST}:{port}" for port in ports]
        running_coordinators = [coordinator(number) for number in range(coordinators)]
        running_workers = [start("worker", f"worker-{number + 1}", served) for number in range(workers)]
        for gateway in gateways:
            asyncio.run(wait_until_ready(gateway, [model]))
        yield Fleet(gateways, model, running_coordinators, running_workers, coordinator)


def command(part: str, profile: Path | None) -> list[str]:
    """The arguments of a daemon, sampled into `profile` if one is given."""
    return ["-m", "bench.profiled", str(profile), part] if profile else ["-m", "agentos", part]


def _prepare(server: str) -> tuple[str, str]:
    database = asyncio.run(make_database(server))
    upgrade(database)
    asyncio.run(make_bus(database))
    return database, asyncio.run(make_worker_role(database))


@contextmanager
def _broker(directory: Path) -> Iterator[StandalonePulsar]:
    home = find_home() or fetch_home(say)
    say("starting Pulsar")
    broker = StandalonePulsar(home, directory / "pulsar")
    try:
        broker.start()
        yield broker
    finally:
        broker.stop()


def _restore_mark(mark: str | None) -> None:
    if mark is None:
        del os.environ[RUN_VARIABLE]
    else:
        os.environ[RUN_VARIABLE] = mark


def _exit(*_: object) -> NoReturn:
    raise SystemExit(143)
