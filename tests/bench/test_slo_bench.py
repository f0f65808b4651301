"""The bench of policies runs once with few requests. Its figures mean nothing here."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.slocells import POLICIES
from tests.bench.test_benches import SECONDS, bench

pytestmark = pytest.mark.timeout(SECONDS + 10)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "results.json"


def test_policies_stand_beside_one_another_on_the_same_loads(file: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text("arrived_at\n" + "".join(f"{number // 3}\n" for number in range(300)))
    options = ["--pipelines", "one,diamond", "--loads", "0.8,2", "--requests", "300", "--processes", "2"]
    printed, written = bench(file, "slo", *options, "--trace", str(trace), "--plots", str(tmp_path / "plots"))
    cells = [
        (each["pipeline"], each["arrivals"], each["load"], each["figures"]["policy"]) for each in written["cells"]
    ]
    assert cells == [
        (pipeline, arrivals, load, policy)
        for pipeline in ("one", "diamond")
        for arrivals in ("poisson", "gamma", "trace")
        for load in (0.8, 2.0)
        for policy in POLICIES
    ]
    assert all(each["figures"]["offered"] == 300 for each in written["cells"])
    assert [(each["pipeline"], each["arrivals"]) for each in written["planner"]] == [
        (pipeline, arrivals) for pipeline in ("one", "diamond") for arrivals in ("poisson", "gamma", "trace")
    ]
    assert all(each["changes"] for each in written["planner"])
    assert "ours to best of none, lazy, nexus" in printed
    assert "By stage (diamond, Poisson, 2 ×)" in printed
    assert printed.count("goal: ") == 3
    drawn = sorted(each.name for each in (tmp_path / "plots").iterdir())
    assert drawn == ["slo-goodput.svg", "slo-planner.svg", "slo-wasted.svg"]


@pytest.mark.long
def test_a_real_run_stands_beside_its_simulation(file: Path) -> None:
    printed, written = bench(file, "pipeline", "--loads", "0.3", "--seconds", "4", "--policies", "lazy")
    (run,) = written["runs"]
    assert (run["bus"], run["policy"], run["load"]) == ("postgres", "lazy", 0.3)
    assert run["offered"] > 0
    assert 0 < run["real"] <= 1
    assert run["simulated"] == 1
    assert 0 < run["hop"] < 10
    assert "points apart" in printed
