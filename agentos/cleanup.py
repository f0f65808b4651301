"""`agentos cleanup`: ends what earlier runs have left, and nothing else."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil

from agentos.processes import describe, end, marked
from agentos.runs import end_run, postmaster, read, stale

GRACE_SECONDS = 5.0


def run_cleanup(state: Path, *, dry_run: bool = False, as_json: bool = False) -> int:
    """Ends leftovers, or only finds them, and prints them. Returns the exit code, 0."""
    # A Postgres may be found twice, by its mark and by its run's file.
    lines = list(dict.fromkeys(find(state))) if dry_run else cleanup(state)
    if as_json:
        sys.stdout.write(msgspec.json.encode({"ended": [] if dry_run else lines, "found": lines}).decode() + "\n")
        return 0
    verb = "would end" if dry_run else "ended"
    sys.stdout.write("".join(f"{verb} {line}\n" for line in lines) or "nothing is left of earlier runs\n")
    return 0


def find(state: Path) -> Iterator[str]:
    """Leftovers, a line each."""
    for process in leftovers():
        try:
            yield describe(process)
        except psutil.NoSuchProcess:
            continue
    for path, _ in stale(state):
        contents = read(path)
        server = postmaster(Path(contents.pgdata)) if contents and contents.pgdata else None
        if server:
            yield describe(server)
        if contents and contents.container:
            yield f"container {contents.container}"


def cleanup(state: Path) -> list[str]:
    """Ends leftovers and removes the files of their runs. Returns what was ended, a line each."""
    ended = end(leftovers(), grace=GRACE_SECONDS)
    for path, run in stale(state):
        ended += end_run(run, path, grace=GRACE_SECONDS)
    return ended


def leftovers() -> list[psutil.Process]:
    """Processes of this user whose run's owner is no longer alive."""
    return [process for process, run in marked() if not run.alive()]
