"""`python -m bench fleet`: no-op requests from submit to folded row, beside a raw loop of the Pulsar client."""

from __future__ import annotations

import os
import signal
import statistics
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from bench import report
from bench.database import database
from bench.processes import Meter, Process, running
from bench.profiled import Profile
from bench.profiles import print_profile, read_profile
from bench.stage import BusName, Fleet, Stage, fleet, say, stage
from core.errors import PartError

RAW = "raw loop"
WARM_UP = 1000
# A broker just started compiles its own code first: it warms up on a raw loop of so many and on a round of the fleet.
BROKER_WARM_UP = 30_000
# What the workers of the fleet are told: a fast backend may hold many messages and have as many sent ahead.
SLOTS = 512
PREFETCH = 256
READY_SECONDS = 60.0
ROUND_SECONDS = 300.0
LOOK_SECONDS = 0.03
TABLES = "tasks, documents, progress, ledger, inbox, outbox"
GOAL_RATIO = 0.2
GOAL_RATE = 2000


@dataclass(frozen=True, slots=True)
class Measured:
    """One round. `cpu`: seconds by process. `profiles` by process, where they were asked for."""

    way: str
    requests: int
    seconds: float
    cpu: dict[str, float]
    profiles: dict[str, Profile]

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds


def run(
    buses: Sequence[BusName], *, requests: int, workers: int, rounds: int, profile: bool, file: Path | None
) -> None:
    """Measures, prints, writes. Raises `PartError`."""
    with stage(pulsar="pulsar" in buses) as on:
        ways: list[tuple[str, Callable[[], Measured]]] = []
        if "pulsar" in buses:
            say("warming the broker")
            raw_round(on, min(BROKER_WARM_UP, 3 * requests))
            fleet_round(on, "pulsar", requests, workers, profile=False)
            ways.append((RAW, partial(raw_round, on, requests)))
        for bus in buses:
            ways.append((f"fleet on {bus}", partial(fleet_round, on, bus, requests, workers, profile)))
        measured = []
        for number in range(1, rounds + 1):
            for way, measure in ways:
                measured.append(each := measure())
                say(f"round {number} of {rounds}, {way}: {each.rate:,.0f} requests/s")
    _print(measured, requests, workers)
    report.write("fleet", {"workers": workers, "rounds": [_plain(each) for each in measured]}, file)


def fleet_round(on: Stage, bus: BusName, requests: int, workers: int, profile: bool) -> Measured:
    """One round of AgentOS on `bus`. Raises `PartError`."""
    _truncate(on)
    settings: dict[str, Any] = {"node_type": "mock", "max_process_num": SLOTS, "prefetch": PREFETCH}
    target = on.directory if profile else None
    with (
        fleet(on, bus, workers=workers, profile_to=target, **settings) as started,
        _submitter(on, bus, started, target) as submitter,
    ):
        submitter.hear(READY_SECONDS)
        _submit(on, started, submitter, count=WARM_UP, total=WARM_UP)
        submitter.hear(READY_SECONDS)
        processes = [submitter, *started.coordinators, *started.workers]
        meter = Meter(on.pids() | {each.name: each.pid for each in processes})
        with meter, _sampling(processes if profile else []):
            _submit(on, started, submitter, count=requests, total=WARM_UP + requests)
        submitter.hear(READY_SECONDS)  # rows of the outbox are kept for a second: they go after the clock has stopped
        _must_be_whole(on, WARM_UP + requests)
        sampled = {each.name: each for each in processes} if profile else {}
        profiles = {name: read_profile(on.directory / f"{name}.json", each) for name, each in sampled.items()}
    return Measured(f"fleet on {bus}", requests, meter.seconds, meter.cpu, profiles)


def raw_round(on: Stage, requests: int) -> Measured:
    """One round of the raw loop. Raises `PartError`."""
    topic = f"raw-{uuid.uuid4().hex[:8]}"
    assert on.broker is not None
    given = {
        "pulsar": on.broker.url,
        "database": on.database,
        "requests": f"{topic}-requests",
        "results": f"{topic}-results",
    }
    with ExitStack() as stack:
        roles = [
            stack.enter_context(_helper(on, "rawloop", {**given, "role": role}, f"raw-{role}")) for role in _ROLES
        ]
        for role in roles:
            role.hear(READY_SECONDS)
        _raw(roles, WARM_UP)
        with Meter(on.pids() | {each.name: each.pid for each in roles}) as meter:
            _raw(roles, requests)
    return Measured(RAW, requests, meter.seconds, meter.cpu, {})


# In the order in which they are started: who receives is there before anything is sent.
_ROLES = ("fold", "worker", "source")


def _raw(roles: list[Process], count: int) -> None:
    for role in roles:
        role.tell({"count": count})
    for role in reversed(roles):
        role.hear(ROUND_SECONDS)


@contextmanager
def _submitter(on: Stage, bus: BusName, started: Fleet, profile_to: Path | None) -> Iterator[Process]:
    given = {
        "database": on.database,
        "bus": on.addresses(bus),
        "model": started.model,
        "profile": str(profile_to / "submitter.json") if profile_to else None,
    }
    with _helper(on, "submitter", given, "submitter") as process:
        yield process


@contextmanager
def _helper(on: Stage, module: str, given: dict[str, Any], name: str) -> Iterator[Process]:
    arguments = ["-m", f"bench.{module}", msgspec.json.encode(given).decode()]
    with running(name, arguments, os.environ, on.directory) as process:
        yield process


def _submit(on: Stage, started: Fleet, submitter: Process, *, count: int, total: int) -> None:
    """Submits `count` and returns when `total` nodes have their result."""
    deadline = time.monotonic() + ROUND_SECONDS
    submitter.tell({"count": count})
    with database(on) as ask:
        while (folded := ask("select count(*) from progress")) < total:
            if time.monotonic() > deadline:
                raise PartError(f"{folded} of {total} requests were folded within {ROUND_SECONDS:g} s")
            started.must_live()
            submitter.must_live()
            time.sleep(LOOK_SECONDS)


def _must_be_whole(on: Stage, total: int) -> None:
    """Every request once in each table, and nothing left to publish."""
    with database(on) as ask:
        counts = {name: ask(f"select count(*) from {name}") for name in ("tasks", "progress", "ledger", "outbox")}
    expected = {"tasks": total, "progress": total, "ledger": total, "outbox": 0}
    if counts != expected:
        raise PartError(f"the fleet miscounted: {counts} instead of {expected}")


def _truncate(on: Stage) -> None:
    with database(on) as ask:
        ask(f"truncate {TABLES} cascade")


@contextmanager
def _sampling(processes: list[Process]) -> Iterator[None]:
    for each in processes:
        each.signal(signal.SIGUSR1)
    yield
    for each in processes:
        each.signal(signal.SIGUSR2)


def _plain(measured: Measured) -> dict[str, Any]:
    profiles = {name: msgspec.structs.asdict(each) for name, each in measured.profiles.items()}
    return {**asdict(measured), "profiles": profiles, "rate": measured.rate}


def _print(measured: list[Measured], requests: int, workers: int) -> None:
    ways = list(dict.fromkeys(each.way for each in measured))
    of = {way: [each for each in measured if each.way == way] for way in ways}
    rates = {way: statistics.median(each.rate for each in rounds) for way, rounds in of.items()}
    raw = rates.get(RAW)
    report.show(
        f"{requests:,} no-op requests of 1 KiB from submit to folded row; {workers} worker(s), mock backend with "
        f"{SLOTS} slots and AGENTOS_PREFETCH={PREFETCH}; medians of {len(of[ways[0]])} round(s)\n"
    )
    rows = [[way, rates[way], _spread(of[way]), f"{rates[way] / raw:.2f}" if raw else "-"] for way in ways]
    report.show(report.table(["way", "requests/s", "least to most", "of raw loop"], rows) + "\n")
    _print_cpu(of)
    for way in ways:
        for name, profile in of[way][-1].profiles.items():
            print_profile(f"{way}, {name}", profile, requests)
    on_pulsar = rates.get("fleet on pulsar")
    if raw and on_pulsar:
        report.show(
            report.goal("fleet on Pulsar at least a fifth of the raw loop", met=on_pulsar >= GOAL_RATIO * raw)
        )
        report.show(report.goal(f"fleet on Pulsar at least {GOAL_RATE:,}/s", met=on_pulsar >= GOAL_RATE))


def _spread(rounds: list[Measured]) -> str:
    return f"{min(each.rate for each in rounds):,.0f} to {max(each.rate for each in rounds):,.0f}"


def _print_cpu(of: dict[str, list[Measured]]) -> None:
    """Raw roles stand in the columns of the parts whose work they do."""
    columns = ["submitter", "coordinator", "worker", "broker", "postgres"]
    used = {
        way: [statistics.median(_used(each, column) for each in rounds) for column in columns]
        for way, rounds in of.items()
    }
    raw = sum(used.get(RAW, []))
    rows = [
        [way, *(f"{each:.3f}" for each in [*seconds, sum(seconds)]), f"{raw / sum(seconds):.2f}" if raw else "-"]
        for way, seconds in used.items()
    ]
    report.show("CPU seconds for 1,000 requests, by process; raw loop's sum to this one's\n")
    report.show(report.table(["way", *columns, "sum", "raw to this"], rows) + "\n")


_SAME = {"raw-source": "submitter", "raw-worker": "worker", "raw-fold": "coordinator"}


def _used(measured: Measured, column: str) -> float:
    names = {
        name: _SAME.get(name, name.rpartition("-")[0] if name.startswith("worker-") else name)
        for name in measured.cpu
    }
    return sum(measured.cpu[name] for name, its in names.items() if its == column) * 1000 / measured.requests
