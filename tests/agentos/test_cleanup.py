"""`agentos cleanup` ends leftovers of earlier runs, and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from agentos.cleanup import cleanup, find, run_cleanup
from agentos.parts.postgres import EmbeddedPostgres
from agentos.processes import Run
from agentos.runs import RunFile, run_file, write
from tests.agentos.stand_ins import PLAIN, STUBBORN, dead_owner_mark, process, wait_gone

pytestmark = [pytest.mark.kills, pytest.mark.xdist_group("leftovers")]


def test_leftovers_are_ended_and_nothing_else(tmp_path: Path) -> None:
    dead, alive = dead_owner_mark(), str(Run.new())
    with (
        process(PLAIN, mark=dead) as left,
        process(STUBBORN, mark=dead) as stubborn,
        process(PLAIN, mark=alive) as living,
        process(PLAIN) as unmarked,
        process(PLAIN, mark="not a mark") as strange,
    ):
        ended = {int(line.split()[0]) for line in cleanup(tmp_path)}
        assert {left.pid, stubborn.pid} <= ended
        assert not {living.pid, unmarked.pid, strange.pid} & ended
        assert wait_gone([left.pid, stubborn.pid]) == []
        assert [each.poll() for each in (living, unmarked, strange)] == [None, None, None]


def test_a_dry_run_tells_and_ends_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with process(PLAIN, mark=dead_owner_mark()) as left:
        assert run_cleanup(tmp_path, dry_run=True) == 0
        assert f"would end {left.pid} " in capsys.readouterr().out
        assert left.poll() is None


def test_a_stale_run_file_and_its_postgres_go_and_a_living_runs_stay(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "postgres")
    server.start()
    dead, alive = Run.parse(dead_owner_mark()), Run.new()
    assert dead is not None
    write(run_file(tmp_path, dead), RunFile(run=str(dead), pgdata=str(tmp_path / "postgres")))
    write(run_file(tmp_path, alive), RunFile(run=str(alive)))
    pid = server.pid
    assert str(pid) in [line.split()[0] for line in find(tmp_path)]
    cleanup(tmp_path)
    assert wait_gone([pid]) == []
    assert list((tmp_path / "runs").iterdir()) == [run_file(tmp_path, alive)]
    server.stop()


def test_the_command_prints_json_for_programs(tmp_path: Path) -> None:
    with process(PLAIN, mark=dead_owner_mark()) as left:
        command = [sys.executable, "-m", "agentos", "cleanup", "--json", "--state-dir", str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert left.pid in [int(line.split()[0]) for line in json.loads(done.stdout)["ended"]]
        assert not psutil.pid_exists(left.pid) or left.wait() is not None


def test_nothing_left_is_said_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cleanup(tmp_path)
    assert run_cleanup(tmp_path) == 0
    assert capsys.readouterr().out == "nothing is left of earlier runs\n"
