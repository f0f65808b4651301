"""Sights for tests, the seed's profile, and numbers that count how often they are compared."""

from __future__ import annotations

from typing import Any

from policy.slo.profile import Profile
from policy.slo.sight import Sight

SEED = Profile({1: 0.069, 2: 0.117, 4: 0.209, 8: 0.396, 16: 0.771, 32: 1.544})
# Sums of these are exact, so that equality can be asked for.
PLAIN = Profile({1: 1.0, 2: 1.5, 4: 2.5, 8: 4.5})


def sight(**figures: Any) -> Sight:
    """One worker with nothing to do, at 100 s, its batches of four; but for `figures`."""
    idle = Sight(
        now=100.0,
        profile=PLAIN,
        size=4,
        workers=1,
        wait=0.0,
        outstanding=0,
        waiting=0,
        later=0.0,
        least=0.0,
        mode="normal",
    )
    return idle._replace(**figures)


class Counted(float):
    """`compared`: how often any two were."""

    compared = 0

    def __lt__(self, other: float) -> bool:
        Counted.compared += 1
        return float.__lt__(self, other)

    def __gt__(self, other: float) -> bool:
        Counted.compared += 1
        return float.__gt__(self, other)

    def __le__(self, other: float) -> bool:
        Counted.compared += 1
        return float.__le__(self, other)

    def __ge__(self, other: float) -> bool:
        Counted.compared += 1
        return float.__ge__(self, other)

    def __eq__(self, other: object) -> bool:
        Counted.compared += 1
        return float.__eq__(self, other)

    __hash__ = float.__hash__
