"""Each bench runs once with few requests, so that it cannot rot. Its figures mean nothing here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SECONDS = 240


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "results.json"


def bench(file: Path, *arguments: str) -> tuple[str, dict[str, Any]]:
    """What it prints and what it writes. It must leave nothing else."""
    with tempfile.TemporaryDirectory(prefix="b-") as scratch:
        os.chmod(scratch, 0o755)  # root's Postgres runs as another user
        done = subprocess.run(
            [sys.executable, "-m", "bench", *arguments, "--json", str(file)],
            cwd=ROOT,
            env={**os.environ, "TMPDIR": scratch},
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        assert done.returncode == 0, done.stderr
        assert [each.name for each in Path(scratch).iterdir() if each.name.startswith("agentos-bench-")] == []
    return done.stdout, json.loads(file.read_text())


@pytest.mark.timeout(SECONDS + 10)
def test_fleet_folds_every_request_on_the_embedded_bus_and_tells_what_its_time_is_spent_on(file: Path) -> None:
    printed, written = bench(file, "fleet", "--bus", "postgres", "--requests", "50", "--rounds", "1", "--profile")
    (only,) = written["rounds"]
    assert only["way"] == "fleet on postgres"
    assert only["requests"] == 50
    assert only["rate"] > 0
    assert only["cpu"].keys() == {"submitter", "coordinator", "worker-1", "postgres"}
    assert only["profiles"].keys() == {"submitter", "coordinator", "worker-1"}
    assert "fleet on postgres, worker-1" in printed


@pytest.mark.long
@pytest.mark.pulsar
@pytest.mark.usefixtures("pulsar_home")
@pytest.mark.timeout(SECONDS + 10)
def test_fleet_stands_beside_the_raw_loop_on_pulsar(file: Path) -> None:
    printed, written = bench(file, "fleet", "--bus", "pulsar", "--requests", "50", "--rounds", "1", "--workers", "2")
    assert [each["way"] for each in written["rounds"]] == ["raw loop", "fleet on pulsar"]
    assert "at least a fifth of the raw loop" in printed


@pytest.mark.timeout(SECONDS + 10)
def test_gateway_answers_every_client_with_its_own_answer(file: Path) -> None:
    printed, written = bench(
        file, "gateway", "--bus", "postgres", "--clients", "1,4", "--requests", "12", "--lost", "20"
    )
    assert [(each["clients"], each["stream"]) for each in written["cells"]] == [
        (1, False),
        (1, True),
        (4, False),
        (4, True),
    ]
    assert all(each["lost"] == {} and each["requests"] == 12 for each in written["cells"])
    assert written["lost"] == {"postgres": {"requests": 20, "lost": {}}}
    assert "added p50 ms" in printed


@pytest.mark.timeout(SECONDS + 10)
def test_streams_flow_through_one_worker_beside_a_bare_relay(file: Path) -> None:
    printed, written = bench(file, "streams", "--bus", "postgres", "--streams", "3", "--pace", "20", "--seconds", "1")
    assert [each["way"] for each in written["rows"]] == ["upstream alone", "bare relay", "worker"]
    assert all(each["unfinished"] == 0 and each["tokens_per_second"] > 0 for each in written["rows"])
    assert written["rows"][2]["health_longest"] > 0
    assert "added p99 ms" in printed


@pytest.mark.long
@pytest.mark.timeout(SECONDS + 10)
def test_worker_stands_beside_a_bare_loop_of_its_client(file: Path) -> None:
    printed, written = bench(file, "worker", "--bus", "postgres", "--requests", "50", "--rounds", "1", "--profile")
    assert [each["way"] for each in written["rounds"]] == ["bare loop", "worker"]
    assert all(each["rate"] > 0 and each["cpu"] > 0 for each in written["rounds"])
    assert "of the bare loop" in printed


@pytest.mark.timeout(SECONDS + 10)
def test_memory_is_looked_at_on_the_way(file: Path) -> None:
    printed, written = bench(file, "memory", "--bus", "postgres", "--requests", "100")
    assert [each["requests"] for each in written["looks"]] == [10, 25, 50, 75, 100]
    assert "the second half of 100 requests" in printed


@pytest.mark.llama
@pytest.mark.usefixtures("tiny_model")
@pytest.mark.timeout(SECONDS + 10)
def test_local_stands_beside_its_own_server(file: Path) -> None:
    command = ("local", "--bus", "postgres", "--requests", "4", "--tokens", "20", "--turns", "1")
    printed, written = bench(file, *command)
    assert {each["way"]: each["tokens"] for each in written["turns"]} == {"llama.cpp directly": 80, "worker": 80}
    assert "of directly" in printed


def test_a_wrong_number_of_clients_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench", "gateway", "--clients", "1,none"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 2
    assert "--clients" in done.stderr
