"""The benches of order and fairness run once with few nodes. Their figures mean nothing here."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.test_benches import SECONDS, bench

pytestmark = pytest.mark.timeout(SECONDS + 10)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "results.json"


@pytest.mark.long
def test_both_orders_serve_the_same_tasks(file: Path) -> None:
    options = ["--bus", "postgres", "--seeds", "2", "--tasks", "5", "--call-seconds", "0.05"]
    printed, written = bench(file, "order", *options)
    assert [(each["seed"], each["order"]) for each in written["runs"]] == [
        (1, "fcfs"),
        (1, "srtf"),
        (2, "srtf"),
        (2, "fcfs"),
    ]
    assert all(len(each["latencies"]) == 5 and each["mean"] > 0 for each in written["runs"])
    assert "ratio of shortest remaining to first come" in printed


def test_a_user_asks_beside_one_with_many_nodes(file: Path) -> None:
    options = ["--bus", "postgres", "--nodes", "3000", "--asks", "2"]
    printed, written = bench(file, "fairness", *options)
    idle, beside = written["runs"]
    assert [len(each["latencies"]) for each in (idle, beside)] == [2, 2]
    assert beside["waiting"] > 0
    assert "the first answer:" in printed
