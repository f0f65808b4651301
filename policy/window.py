"""How many messages of a model may be on their way, and how many of them are this coordinator's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

# Also where nobody serves, so that whoever scales by backlog sees one.
MIN_OUTSTANDING = 4
# The way of a message to its worker, with the look before it, on a fleet that has time.
IDLE_LEAD_SECONDS = 0.1


class Fleet(NamedTuple):
    """The workers of a model that can serve, as far as they have told lately, and the calls they make at once."""

    workers: int = 0
    slots: int = 0


class Demand(msgspec.Struct, frozen=True):
    """A coordinator's need of a model. `outstanding`: its messages without a result; `waiting`: its ready nodes."""

    name: str
    outstanding: int
    waiting: int


def window(slots: int, per_second: float, lead_seconds: float) -> int:
    """The messages that the workers can soon use: what they hold, and what they finish until the next look (Little).

    `slots`: of all workers of the model; `per_second`: what they finish; `lead_seconds`: how long a message takes
    to reach them after a look, the time to the next look included, on a busy fleet.

    No more than the slots once again wait in the topic, which knows no order but its own: so whoever goes first here
    waits there for one call at most. Calls so short that they would end before the next message comes are no matter.
    """
    ahead = min(per_second * lead_seconds, max(slots, per_second * IDLE_LEAD_SECONDS))
    return max(MIN_OUTSTANDING, slots + math.ceil(ahead))


def stage_window(workers: int, size: int, per_second: float, lead_seconds: float) -> int:
    """The messages of a pipeline's stage beyond its gate: the batches that are executed, and the next on its way.

    `size`: of the batches; `per_second`: requests that all workers finish; `lead_seconds`: from the gate to a worker.
    """
    return workers * size + max(size, math.ceil(per_second * lead_seconds))


def part(window: int, others: Sequence[Demand], mine: Demand) -> int:
    """How much of the window is ours: max-min fair between those who want some of it.

    Nobody gets more than it wants; what it does not want is the others'. All reckon the same parts from the same
    demands, which together are the window at most; but whoever waits gets one at least. What cannot be divided goes
    to whoever wants most, then to the last by name.
    """
    demands = sorted([*others, mine], key=lambda each: (_want(each), each.name))
    left = window
    for count, demand in zip(range(len(demands), 0, -1), demands, strict=True):
        share = min(_want(demand), left // count)
        if demand is mine:
            return max(share, min(1, mine.waiting))
        left -= share
    raise AssertionError("mine is one of them")


def _want(demand: Demand) -> int:
    return demand.outstanding + demand.waiting
