"""This worker among the others on its key: what each tells of its use, and what part of the limits is whose."""

from __future__ import annotations

import time

import msgspec

from bus.messages import KeyUse, WorkerNotice
from workernode.limits.rates import RateLimits
from workernode.limits.shares import Demand, Shares


class Sharing:
    """`key`: see `limits.shares.fingerprint`. `interval`: seconds between notices. The part goes to `rates`."""

    def __init__(self, name: str, key: str, rates: RateLimits, interval: float) -> None:
        self._key = key
        self._rates = rates
        self._shares = Shares(name, time.monotonic(), interval)
        self._reckon()

    def tell(self, notice: WorkerNotice) -> WorkerNotice:
        """The notice with what this worker used of the key of late."""
        now = time.monotonic()
        demand = Demand(self._rates.used(now), self._rates.held_back(now))
        self._shares.told(demand)
        self._reckon()
        return msgspec.structs.replace(notice, key_use=KeyUse(self._key, demand.used, demand.held_back))

    def hear(self, notice: WorkerNotice) -> None:
        """Any worker's notice; those on other keys do not matter."""
        use = notice.key_use
        if use is None or use.key != self._key:
            return
        if notice.leaving:
            self._shares.left(notice.node)
        else:
            self._shares.heard(time.monotonic(), notice.node, Demand(use.used, use.held_back))
        self._reckon()

    def _reckon(self) -> None:
        self._rates.share(self._shares.fraction(time.monotonic()))
