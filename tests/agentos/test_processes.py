"""Marks, and the guardian that ends a killed run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from agentos.parts.postgres import EmbeddedPostgres
from agentos.processes import Run, end, of_run, started
from agentos.runs import RunFile, end_run, postmaster, run_file, write
from tests.agentos.stand_ins import PLAIN, STUBBORN, dead_owner_mark, process, wait_gone

OWNER = """
    import asyncio, os, subprocess, sys
    from pathlib import Path
    from agentos.guardian import Guardian
    from agentos.processes import RUN_VARIABLE, Run
    from agentos.runs import RunFile, run_file, write

    async def main():
        run = Run.new()
        path = run_file(Path({state!r}), run)
        write(path, RunFile(run=str(run)))
        guardian = await Guardian.start(run, path, lock=0)
        os.environ[RUN_VARIABLE] = str(run)
        children = [
            subprocess.Popen([sys.executable, "-c", code], start_new_session=True, stdout=subprocess.PIPE)
            for code in ({plain!r}, {stubborn!r})
        ]
        for child in children:
            child.stdout.readline()
        print(guardian._process.pid, *(child.pid for child in children), flush=True)
        sys.stdin.readline()
        await guardian.dismiss()

    asyncio.run(main())
"""


def test_a_mark_reads_back_and_names_a_living_owner() -> None:
    run = Run.new()
    assert Run.parse(str(run)) == run
    assert run.owner_pid == os.getpid()
    assert run.alive()


@pytest.mark.parametrize("mark", ["", "12", "12:34", "x:34:ab", "12::ab", "-1:34:ab"])
def test_what_is_no_mark_is_not_read_as_one(mark: str) -> None:
    assert Run.parse(mark) is None


def test_another_process_with_the_owners_id_is_not_the_owner() -> None:
    assert not Run(os.getpid(), "1", "ab").alive()


def test_a_process_that_ended_has_no_start_time() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        child.wait()
        assert started(child.pid) is None


def test_only_processes_of_the_run_are_found() -> None:
    run, other = Run.new(), Run.new()
    with process(PLAIN, mark=str(run)) as its, process(PLAIN, mark=str(other)), process(PLAIN):
        assert [each.pid for each in of_run(run)] == [its.pid]


def test_a_process_that_ignores_sigterm_is_killed_after_the_grace() -> None:
    run = Run.new()
    with process(STUBBORN, mark=str(run)) as stubborn, process(PLAIN, mark=str(run)) as plain:
        ended = end(of_run(run), grace=0.3)
        assert sorted(int(line.split()[0]) for line in ended) == sorted([stubborn.pid, plain.pid])
        assert wait_gone([stubborn.pid, plain.pid]) == []


@pytest.mark.kills
def test_the_guardian_ends_everything_when_its_owner_is_killed(tmp_path: Path) -> None:
    with _owner(tmp_path) as (owner, pids):
        owner.send_signal(signal.SIGKILL)
        owner.wait()
        assert wait_gone(pids) == []
    assert list((tmp_path / "runs").iterdir()) == []


@pytest.mark.kills
def test_the_guardian_does_not_mind_a_terminals_signals(tmp_path: Path) -> None:
    with _owner(tmp_path) as (owner, pids):
        guardian = psutil.Process(pids[0])
        for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            guardian.send_signal(sign)
        owner.send_signal(signal.SIGKILL)
        owner.wait()
        assert wait_gone(pids) == []


def test_a_dismissed_guardian_ends_nothing(tmp_path: Path) -> None:
    with _owner(tmp_path) as (owner, (guardian, plain, stubborn)):
        assert owner.stdin is not None
        owner.stdin.write("\n")
        owner.stdin.flush()
        assert owner.wait() == 0
        assert wait_gone([guardian]) == []
        assert psutil.pid_exists(plain)
        assert psutil.pid_exists(stubborn)


@pytest.mark.kills
def test_a_killed_runs_postgres_is_ended_by_its_data_directory(tmp_path: Path) -> None:
    pgdata = tmp_path / "postgres"
    server = EmbeddedPostgres(pgdata)
    server.start()
    found = postmaster(pgdata)
    assert found is not None
    assert found.pid == server.pid
    run = Run.parse(dead_owner_mark())
    assert run is not None
    path = run_file(tmp_path, run)
    write(path, RunFile(run=str(run), pgdata=str(pgdata)))
    children = [each.pid for each in found.children(recursive=True)]
    ended = end_run(run, path, grace=5)
    assert [int(line.split()[0]) for line in ended] == [found.pid]
    assert wait_gone([found.pid, *children]) == []
    assert not path.exists()
    server.stop()


def test_a_postmaster_file_that_names_someone_else_is_not_believed(tmp_path: Path) -> None:
    (tmp_path / "postmaster.pid").write_text(f"{os.getpid()}\n{tmp_path}\n")
    assert postmaster(tmp_path) is None


@contextmanager
def _owner(state: Path) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """A process that has started a guardian and two children; the process ids of these three."""
    code = OWNER.format(state=str(state), plain=PLAIN, stubborn=STUBBORN)
    command = [sys.executable, "-c", textwrap.dedent(code)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        pids = [int(pid) for pid in owner.stdout.readline().split()]
        try:
            yield owner, pids
        finally:
            owner.kill()
            for pid in pids:
                if psutil.pid_exists(pid):
                    psutil.Process(pid).kill()
