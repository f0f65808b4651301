"""The bench of the operator runs once with few AIModels. Its figures mean nothing here."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import PartError
from tests.bench.test_benches import SECONDS, bench
from tests.fixtures.kubernetes import programs
from tests.fixtures.missing import missing_part

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(SECONDS + 10)]


@pytest.fixture
def parts() -> None:
    """Kubernetes' own programs are there."""
    try:
        programs()
    except PartError as error:
        missing_part(f"Kubernetes: {error}")


@pytest.mark.usefixtures("parts")
def test_all_aimodels_are_made_and_looked_at_beside_a_bare_client(tmp_path: Path) -> None:
    file, plots = tmp_path / "results.json", tmp_path / "plots"
    printed, written = bench(file, "operator", "--aimodels", "3", "--plots", str(plots))
    (only,) = written["rounds"]
    assert (only["aimodels"], only["writes"]) == (3, 18)
    assert 0 < only["posted"] <= only["made"]
    assert min(only["restarted"], only["bare"], only["cpu"]) > 0
    assert only["calls"] >= only["writes"]
    assert "made to bare" in printed
    assert [each.name for each in plots.iterdir()] == ["operator.svg"]
