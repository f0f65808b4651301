from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.test_benches import SECONDS, bench


@pytest.mark.timeout(SECONDS + 10)
def test_limits_are_kept_by_two_workers_on_one_key(tmp_path: Path) -> None:
    options = ["--bus", "postgres", "--workers", "2", "--seconds", "3"]
    printed, written = bench(tmp_path / "results.json", "limits", *options)
    assert [(each["limit"], each["workers"]) for each in written["lines"]] == [("requests", 2), ("tokens", 2)]
    assert all(each["calls"] > 20 and each["refused"] <= 0.01 for each in written["lines"])
    assert "at least 95% used" in printed
