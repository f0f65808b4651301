"""What all parts of a simulated fleet share."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import NamedTuple

from policy.slo.pipeline import PolicyName
from workload.simulator.clock import Clock
from workload.simulator.requests import Requests

# A request beyond the gate; by when its stage must be done with it; when it left the gate.
Sent = tuple[int, float | None, float]


class Batch(NamedTuple):
    """It has ended. Of each request: seconds from the gate to the worker and on the way back, and at the worker until
    the batch began. `seconds`: it took so long.
    """

    requests: list[int]
    hops: list[float]
    waits: list[float]
    seconds: float


@dataclass(frozen=True, slots=True)
class World:
    """`clock`: its way is that from a gate to a worker, or back. `jitter`: standard deviation of the logarithm of a
    batch's seconds.
    """

    clock: Clock
    requests: Requests
    policy: PolicyName
    jitter: float
    chance: random.Random

    def jittered(self, seconds: float) -> float:
        """Log-normal, of that mean."""
        if not self.jitter:
            return seconds
        return seconds * self.chance.lognormvariate(-(self.jitter**2) / 2, self.jitter)
