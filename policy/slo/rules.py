"""Which requests still can make it: each policy as plain functions of what a gate sees.

All are thresholds: of two requests, what is good enough for the one with the earlier deadline is for the other.
Sources and figures: docs/decisions/0014-dropping-under-an-slo.md
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from policy.order import Order
from policy.slo.pipeline import PolicyName
from policy.slo.sight import Mode, Sight


class Policy:
    """ "none": drops nothing; first come, first served. Deadlines are on the clock of `Sight.now`.

    `name`: in a pipeline's description. `holds`: what is expected to be late, and not hopeless, is not dropped at
    its turn, but goes only if nothing better is there.
    """

    name: PolicyName = "none"
    holds = False

    def order(self, mode: Mode) -> Order:
        """Of the line before the gate."""
        return "fcfs"

    def hopeless_before(self, sight: Sight) -> float:
        """The earliest deadline that can be met at best. What is due before is dropped wherever it waits."""
        return -math.inf

    def late_before(self, sight: Sight, ahead: int) -> float:
        """The earliest deadline that a request is expected to meet, if it leaves the gate now and `ahead` others have
        left since `sight`. What is due before is dropped at its turn, or held.
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

    def order(self, mode: Mode) -> Order:
        return "deadline"

    def hopeless_before(self, sight: Sight) -> float:
        return sight.now + sight.profile.seconds(1)

    def late_before(self, sight: Sight, ahead: int) -> float:
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

    def order(self, mode: Mode) -> Order:
        return "relaxed" if mode == "overload" else "deadline"

    def hopeless_before(self, sight: Sight) -> float:
        return sight.now + sight.profile.seconds(1) + sight.least

    def late_before(self, sight: Sight, ahead: int) -> float:
        return sight.now + sight.wait + sight.profile.seconds(sight.size) + sight.later

    def serve_by(self, sight: Sight, deadline: float | None) -> float | None:
        return None if deadline is None else deadline - sight.later


class AgentOS(Pard):
    """Ours."""

    name: PolicyName = "agentos"


POLICIES: Mapping[PolicyName, Policy] = {
    policy.name: policy for policy in (Policy(), Lazy(), Nexus(), Pard(), AgentOS())
}
