"""What a sampled process (see bench.profiled) has spent its CPU on: read from its file, shown as tables."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from bench import report
from bench.processes import Process
from bench.profiled import Profile
from core.errors import PartError

WRITTEN_SECONDS = 60.0
LOOK_SECONDS = 0.03
SHOWN_FUNCTIONS = 20


def read_profile(file: Path, process: Process) -> Profile:
    """Waits for what the process writes after SIGUSR2, and removes it. Raises `PartError`."""
    deadline = time.monotonic() + WRITTEN_SECONDS
    while not file.exists():
        process.must_live()
        if time.monotonic() > deadline:
            raise PartError(f"{process.name} wrote no profile")
        time.sleep(LOOK_SECONDS)
    profile = msgspec.json.decode(file.read_bytes(), type=Profile)
    file.unlink()
    return profile


def print_profile(title: str, profile: Profile, requests: int) -> None:
    """Two tables: by package, and by our own function."""
    total = profile.main_seconds + profile.other_seconds
    micro = 1e6 / requests
    report.show(
        f"{title}: {total * micro:.0f} µs of CPU a request, of it {profile.other_seconds * micro:.0f} µs in other "
        "threads (those of the Pulsar client); the main thread's by package and by our own innermost function\n"
    )
    sampled = sum(profile.by_package.values()) or 1.0
    for head, shares in (("package", profile.by_package), ("function", profile.by_function)):
        top = sorted(shares.items(), key=lambda item: -item[1])[:SHOWN_FUNCTIONS]
        rows = [[name, f"{100 * part / sampled:.1f} %", f"{part * micro:.1f}"] for name, part in top]
        report.show(report.table([head, "share", "µs a request"], rows) + "\n")
