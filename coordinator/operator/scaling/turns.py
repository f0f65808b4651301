"""Which model's backlog is looked at when, and which AIModel hears of it when. Pure.

Times are of one clock, in seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from coordinator.operator.wanted.aimodel import Key

# Of all looks at the broker: each is a call of its admin API, of a millisecond or two on either side.
MOST_PER_SECOND = 200.0
# A status is written at most so often, but at once where there is a backlog, or none any more.
TELL_SECONDS = 10.0


class Turns:
    """`chance`: a number from 0 to 1, so that not all have their turn at one moment."""

    def __init__(self, chance: Callable[[], float]) -> None:
        self._chance = chance
        self._periods: Mapping[str, float] = {}
        self._at: dict[str, float] = {}
        self._out: set[str] = set()

    def follow(self, periods: Mapping[str, float], now: float) -> None:
        """These models are to be looked at, each so often; less often where that would be too much for the broker."""
        crowd = max(1.0, sum(1 / period for period in periods.values()) / MOST_PER_SECOND)
        self._periods = {model: period * crowd for model, period in periods.items()}
        self._at = {model: self._next(model, period, now) for model, period in self._periods.items()}

    def _next(self, model: str, period: float, now: float) -> float:
        at = self._at.get(model)
        return now + period * self._chance() if at is None else min(at, now + period)

    def take(self, now: float) -> list[str]:
        """Those whose turn it is; not again before `done`."""
        due = [model for model, at in self._at.items() if at <= now and model not in self._out]
        self._out.update(due)
        return due

    def done(self, model: str, now: float) -> None:
        """It has been looked at."""
        self._out.discard(model)
        if model in self._at:
            self._at[model] = now + self._periods[model]


class _Told(NamedTuple):
    backlog: int | None
    at: float


class Telling:
    """What AIModels have been told of their backlog."""

    def __init__(self) -> None:
        self._told: dict[Key, _Told] = {}

    def due(self, key: Key, backlog: int | None, now: float) -> bool:
        """Whether it is to be told now; then it counts as told. None: not known."""
        told = self._told.get(key)
        if told is not None and _alike(told.backlog, backlog) and now - told.at < TELL_SECONDS:
            return False
        self._told[key] = _Told(backlog, now)
        return True

    def forget(self, key: Key) -> None:
        """It is gone."""
        self._told.pop(key, None)


def _alike(before: int | None, after: int | None) -> bool:
    return (before is None) == (after is None) and bool(before) == bool(after)
