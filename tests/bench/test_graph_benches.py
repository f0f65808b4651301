"""Each bench of task graphs runs once with few nodes. Its figures mean nothing here."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.test_benches import SECONDS, bench

pytestmark = pytest.mark.timeout(SECONDS + 10)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "results.json"


def test_every_structure_is_run_beside_plain_requests(file: Path) -> None:
    options = ["--bus", "postgres", "--nodes", "100", "--rounds", "1", "--profile"]
    printed, written = bench(file, "graphs", *options)
    of_bus = written["buses"]["postgres"]
    assert {each["way"]: each["nodes"] for each in of_bus["runs"]} == {
        "bag": 100,
        "diamond": 102,
        "reduce": 101,
        "sequential": 100,
        "sequential, one alone": 5,
    }
    assert all(each["rate"] > 0 for each in of_bus["runs"])
    assert of_bus["plain"][0] > 0
    assert "diamond on postgres, coordinator" in printed
    assert "goal: bag on postgres" in printed


@pytest.mark.long
def test_rows_are_there_before_anything_is_measured(file: Path) -> None:
    options = ["--bus", "postgres", "--rows", "100,2000", "--tasks", "5", "--rounds", "1"]
    printed, written = bench(file, "rows", *options)
    assert [(each["rows"], each["nodes"]) for each in written["runs"]] == [(100, 50), (2000, 50)]
    assert "with 2,000 rows" in printed


def test_steps_are_timed_idle_and_under_load(file: Path) -> None:
    printed, written = bench(file, "succession", "--bus", "postgres", "--steps", "20", "--seconds", "1")
    assert [each["load"] for each in written["runs"]] == ["idle", "half", "full"]
    assert len(written["runs"][0]["seconds"]) == 20
    assert all(seconds > 0 for each in written["runs"] for seconds in each["seconds"])
    assert "p99 ms" in printed


@pytest.mark.long
def test_coordinators_share_a_load(file: Path) -> None:
    options = ["--bus", "postgres", "--coordinators", "1,2", "--tasks", "10", "--rounds", "1"]
    printed, written = bench(file, "coordinators", *options)
    assert [(each["coordinators"], each["nodes"]) for each in written["runs"]] == [(1, 100), (2, 100)]
    assert "of the first" in printed


@pytest.mark.long
@pytest.mark.kills
def test_agents_survive_their_coordinators(file: Path) -> None:
    options = ["--bus", "postgres", "--seconds", "2", "--every", "1.5", "--call-seconds", "0.3"]
    printed, written = bench(file, "agents", *options)
    undisturbed, disturbed = written["runs"]
    assert (undisturbed["kills"], disturbed["kills"] > 0) == (0, True)
    assert undisturbed["calls"] == undisturbed["nodes"] == disturbed["calls"] == disturbed["nodes"]
    assert "times the undisturbed mean latency" in printed
