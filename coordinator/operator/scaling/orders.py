"""What the planner has ordered of late, by model. Pure."""

from __future__ import annotations

from typing import NamedTuple

from bus.scaling import Order
from policy.scaling import Ordered

# Orders are repeated every two seconds; without any the work decides.
FRESH_SECONDS = 10.0


class _Heard(NamedTuple):
    ordered: Ordered
    at: float


class Orders:
    """The latest of each model. Times are of one clock, in seconds: that of an order says when its sender made it."""

    def __init__(self) -> None:
        self._heard: dict[str, _Heard] = {}

    def hear(self, order: Order, now: float) -> None:
        """One that names no models is an older planner's, which others follow."""
        for stage, model in (order.models or {}).items():
            if (workers := order.workers.get(stage)) is not None:
                why = f"planner, pipeline {order.pipeline}, stage {stage}"
                self._heard[model] = _Heard(Ordered(workers, why), now)

    def of(self, model: str, now: float) -> Ordered | None:
        """How many workers it is to have, if somebody has said so lately."""
        heard = self._heard.get(model)
        if heard is None:
            return None
        if now - heard.at > FRESH_SECONDS:
            del self._heard[model]
            return None
        return heard.ordered
