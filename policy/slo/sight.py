"""What a stage's gate knows when it decides."""

from __future__ import annotations

from typing import Literal, NamedTuple

from policy.slo.profile import Profile

Mode = Literal["normal", "overload"]


class Sight(NamedTuple):
    """A stage at one moment; `StageWatch.sight` makes it. Times in seconds; `now` on the clock of the deadlines.

    `size`: of the batches, as planned. `wait`: from leaving the gate to the start of the batch, as seen of late.
    `outstanding`: requests beyond the gate without a result; `waiting`: those before it. `later`: from the end of
    this stage to the end of the pipeline, on its longest path, as expected; `least`: the same at best.
    """

    now: float
    profile: Profile
    size: int
    workers: int
    wait: float
    outstanding: int
    waiting: int
    later: float
    least: float
    mode: Mode
