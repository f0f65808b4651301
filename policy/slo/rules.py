"""Which requests still can make it: each policy as plain functions of what a gate sees.

All are thresholds: of two requests, what is good enough for the one with the earlier deadline is for the other.
Sources and figures: docs/decisions/0014-dropping-under-an-slo.md
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from policy.order import Order
from policy.slo.pipeline import PolicyName
from policy.slo.sight import Sight

# More that wait than so many times what the workers have in hand are a crowd.
CROWD = 2


class Policy:
    """ "none": drops nothing; first come, first served. Deadlines are on the clock of `Sight.now`.

    `name`: in a pipeline's description. `holds`: what is expected to be late, and not hopeless, is not dropped at
    its turn, but goes only if a worker would else have nothing to do.
    """

    name: PolicyName = "none"
    holds = False

    def order(self, sight: Sight, earliest: float, before: Order) -> Order:
        """Of the line before the gate. `earliest`: the first deadline there; `before`: the order until now."""
        return "fcfs"

    def hopeless_before(self, sight: Sight) -> float:
        """The earliest deadline worth its place in the line. What is due before is dropped wherever it waits."""
        return -math.inf

    def late_before(self, sight: Sight) -> float:
        """The earliest deadline that a request is expected to meet, if it leaves the gate now. What is due before is
        dropped at its turn, or held.
        """
        return -math.inf

    def admits(self, sight: Sight, deadline: float | None) -> bool:
        """Whether a request that has just come to a pipeline is taken in, by one of its first stages."""
        return deadline is None or deadline >= self.hopeless_before(sight)

    def serve_by(self, sight: Sight, deadline: float | None) -> float | None:
        """What the worker is told: by when this stage must be done with the request. None: no hurry."""
        return None


class Lazy(Policy):
    """Drops only what this stage could not finish in time even alone. Earliest deadline first."""

    name: PolicyName = "lazy"

    def order(self, sight: Sight, earliest: float, before: Order) -> Order:
        return "deadline"

    def hopeless_before(self, sight: Sight) -> float:
        return sight.now + sight.profile.seconds(1)

    def late_before(self, sight: Sight) -> float:
        return sight.now + sight.profile.seconds(1)

    def serve_by(self, sight: Sight, deadline: float | None) -> float | None:
        return deadline


class Nexus(Lazy):
    """Early drop by a sliding window: it is the worker, which knows when a batch starts, that drops what would make
    the batch smaller than planned (`policy.slo.forming`). Before the gate as lazy.
    """

    name: PolicyName = "nexus"


class Pard(Lazy):
    """Drops what is expected to be late at the pipeline's end: time spent, and queueing and execution here, and the
    longest path over the later stages, exceed the SLO. Earliest deadline first, in overload the latest.
    """

    name: PolicyName = "pard"

    def order(self, sight: Sight, earliest: float, before: Order) -> Order:
        return "relaxed" if sight.mode == "overload" else "deadline"

    def hopeless_before(self, sight: Sight) -> float:
        return sight.now + sight.profile.seconds(1) + sight.least

    def late_before(self, sight: Sight) -> float:
        return sight.now + sight.wait + sight.profile.seconds(sight.size) + sight.later

    def serve_by(self, sight: Sight, deadline: float | None) -> float | None:
        return None if deadline is None else deadline - sight.later


class AgentOS(Pard):
    """Ours: PARD's estimate, and three things that differ.

    The order is read off the line itself: the latest deadline goes first once the earliest is expected to be late,
    and until none is. What is expected to be late is held while few wait, and served if a worker would else be idle.
    While many wait there will be none, so it is dropped at once, and its client hears of it.
    """

    name: PolicyName = "agentos"
    holds = True

    def order(self, sight: Sight, earliest: float, before: Order) -> Order:
        if earliest < self.late_before(sight):
            return "relaxed"
        return before if before == "relaxed" and _crowded(sight) else "deadline"

    def hopeless_before(self, sight: Sight) -> float:
        return self.late_before(sight) if _crowded(sight) else super().hopeless_before(sight)


def _crowded(sight: Sight) -> bool:
    return sight.waiting > CROWD * sight.workers * sight.size


POLICIES: Mapping[PolicyName, Policy] = {
    policy.name: policy for policy in (Policy(), Lazy(), Nexus(), Pard(), AgentOS())
}
