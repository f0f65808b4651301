"""What other coordinators want: by model, forgotten where they have been silent."""

from __future__ import annotations

from coordinator.tasks.demands import SILENT_SECONDS, Demands
from policy.window import Demand


def test_demands_are_told_by_model_and_the_last_word_counts() -> None:
    demands = Demands()
    demands.heard("a", {"m": Demand("a", 1, 2), "n": Demand("a", 3, 4)}, 0.0)
    demands.heard("b", {"m": Demand("b", 5, 6)}, 0.0)
    demands.heard("a", {"m": Demand("a", 7, 8)}, 1.0)
    assert demands.of_others(1.0) == {"m": [Demand("a", 7, 8), Demand("b", 5, 6)]}


def test_who_is_silent_has_none() -> None:
    demands = Demands()
    demands.heard("a", {"m": Demand("a", 1, 2)}, 0.0)
    assert demands.of_others(SILENT_SECONDS) == {"m": [Demand("a", 1, 2)]}
    assert demands.of_others(SILENT_SECONDS + 0.1) == {}
