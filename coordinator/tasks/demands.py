"""What the other coordinators have outstanding and waiting, as far as they have told lately. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from policy.window import Demand

# Three notices that did not come.
SILENT_SECONDS = 4.0


class Demands:
    """By coordinator and model."""

    def __init__(self) -> None:
        self._told: dict[str, tuple[float, Mapping[str, Demand]]] = {}

    def heard(self, coordinator: str, demands: Mapping[str, Demand], now: float) -> None:
        """`now`: monotonic seconds."""
        self._told[coordinator] = (now, demands)

    def of_others(self, now: float) -> dict[str, list[Demand]]:
        """By model. Who has been silent for long has none."""
        self._told = {name: told for name, told in self._told.items() if now - told[0] <= SILENT_SECONDS}
        found: dict[str, list[Demand]] = {}
        for _, demands in self._told.values():
            for model, demand in demands.items():
                found.setdefault(model, []).append(demand)
        return found
