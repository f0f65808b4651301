"""Many processes on one key share its limits: each takes its part, and all parts together are at most the whole.

Each tells the others, every few seconds, what part of the key's limits it has used and whether it was held back.
From the same notices all reckon the same parts: max-min fair, so that nobody who was held back has less than another
unless it wanted less. A process is counted as its last notice says, itself too: a part that grows at one grows only
after the others have heard of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

# What one that is not held back may grow by until the next notice, as a factor and as a part of the key's limits
# that all of them have together.
HEADROOM = 1.25
SPARE = 0.02
# One that starts and has heard of nobody takes this part until the others must have spoken.
NEWCOMER = 0.25
# Missed notices after which a replica is gone.
GONE_AFTER = 3


@dataclass(frozen=True, slots=True)
class Demand:
    """What a replica tells. `used`: the part of the key's limits, from 0 to 1."""

    used: float
    held_back: bool


def fair_shares(demands: Mapping[str, Demand]) -> dict[str, float]:
    """The part of each, by name; together 1. Who was held back wants all; who was not, a little more than it used."""
    wants = {name: _want(demand, len(demands)) for name, demand in demands.items()}
    shares: dict[str, float] = {}
    left = 1.0
    for count, name in zip(
        range(len(wants), 0, -1), sorted(wants, key=lambda each: (wants[each], each)), strict=True
    ):
        shares[name] = min(wants[name], left / count)
        left -= shares[name]
    # What nobody wants helps whoever wants it next.
    return {name: share + max(0.0, left) / len(wants) for name, share in shares.items()}


def _want(demand: Demand, replicas: int) -> float:
    return 1.0 if demand.held_back else min(1.0, demand.used * HEADROOM + SPARE / replicas)


class Shares:
    """The replicas on one key, as `name` knows them. `interval`: seconds between notices. Times are monotonic."""

    def __init__(self, name: str, now: float, interval: float) -> None:
        self._name = name
        self._began = now
        self._interval = interval
        self._own = Demand(0.0, True)
        self._others: dict[str, tuple[float, Demand]] = {}

    def told(self, demand: Demand) -> None:
        """Our own notice has gone out."""
        self._own = demand

    def heard(self, now: float, name: str, demand: Demand) -> None:
        """A notice of a replica on the same key; our own does not count."""
        if name != self._name:
            self._others[name] = (now, demand)

    def left(self, name: str) -> None:
        """A replica has told that it goes."""
        self._others.pop(name, None)

    def fraction(self, now: float) -> float:
        """Our part of the limits now, above 0."""
        silent = [name for name, (at, _) in self._others.items() if now - at > GONE_AFTER * self._interval]
        for name in silent:
            self.left(name)
        if not self._others and now - self._began < self._interval:
            return NEWCOMER
        demands = {name: demand for name, (_, demand) in self._others.items()}
        return fair_shares({**demands, self._name: self._own})[self._name]


def fingerprint(key: str, address: str) -> str:
    """Names a key at its provider without telling it, to those who have it too."""
    return hashlib.blake2b(f"{address}\n{key}".encode(), digest_size=12, person=b"agentos-key").hexdigest()
