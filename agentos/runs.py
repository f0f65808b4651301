"""What a run leaves behind besides marked processes: its run file, its Postgres, its container.

Postgres overwrites its environment and, for root, runs as another user, so its mark cannot be read: it is known by
the data directory that the run file names. A run file is removed at a clean end.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil

from agentos.processes import Run, describe, end, of_run


class RunFile(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`<state dir>/runs/<random>.json`."""

    run: str
    pgdata: str | None = None
    container: str | None = None


def run_file(state: Path, run: Run) -> Path:
    """Where the run's file is."""
    return state / "runs" / f"{run.nonce}.json"


def write(path: Path, contents: RunFile) -> None:
    """Replaces the file at once, so that a reader sees the old or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_bytes(msgspec.json.encode(contents))
    new.replace(path)


def read(path: Path) -> RunFile | None:
    """The file's contents; None if it is gone or is not a run file."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=RunFile)
    except (OSError, msgspec.DecodeError):
        return None


def stale(state: Path) -> Iterator[tuple[Path, Run]]:
    """Run files of a state directory whose owner is no longer alive."""
    for path in sorted((state / "runs").glob("*.json")):
        contents = read(path)
        run = Run.parse(contents.run) if contents else None
        if run and not run.alive():
            yield path, run


def postmaster(pgdata: Path) -> psutil.Process | None:
    """The Postgres server that runs on `pgdata`, if any."""
    try:
        process = psutil.Process(int((pgdata / "postmaster.pid").read_text().split()[0]))
        # The file outlives a crash and a reboot: the process id may be someone else's by now.
        return process if Path(process.cwd()) == pgdata.resolve() else None
    except (OSError, ValueError, IndexError, psutil.Error):
        return None


def end_run(run: Run, path: Path, *, grace: float) -> list[str]:
    """Ends what is left of a run and removes its file. Returns what was ended, a line each.

    Its processes come first, and again at the end: one of them may have been starting another.
    """
    contents = read(path) or RunFile(run=str(run))
    ended = end(of_run(run), grace=grace)
    if contents.pgdata:
        ended += end_postgres(Path(contents.pgdata), grace=grace)
    if contents.container:
        ended += _end_container(contents.container)
    ended += end(of_run(run), grace=grace)
    path.unlink(missing_ok=True)
    return ended


def end_postgres(pgdata: Path, *, grace: float) -> list[str]:
    """Ends the server on `pgdata`: fast shutdown (SIGINT), `grace` seconds, immediate shutdown (SIGQUIT)."""
    server = postmaster(pgdata)
    if server is None:
        return []
    line = describe(server)
    for sign, patience in ((signal.SIGINT, grace), (signal.SIGQUIT, grace), (signal.SIGKILL, 5.0)):
        try:
            server.send_signal(sign)
            server.wait(patience)
        except psutil.NoSuchProcess:
            break
        except psutil.TimeoutExpired:
            continue
        break
    return [line]


def _end_container(container: str) -> list[str]:
    docker = shutil.which("docker")
    if docker is None:
        return []
    try:
        done = subprocess.run([docker, "rm", "-f", container], capture_output=True, timeout=30, check=False)
    except subprocess.TimeoutExpired:
        return []
    return [f"container {container}"] if done.returncode == 0 else []
