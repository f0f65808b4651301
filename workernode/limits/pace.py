"""One limit of a key (requests or tokens a minute), kept at a steady pace whichever way the provider enforces it.

A provider may refill a bucket steadily or open a new window every minute, and counts what it likes. So:

- The pace is a little under the limit: in no minute, wherever it begins, do more than the limit arrive.
- What the provider tells is trusted more than our own count: `remaining ÷ reset` is what can be used evenly until
  all is whole again. In a window that is exact. In a bucket it equals the limit when half is left; below that we go
  slower, above that at the full pace. It also holds where others use the key, where the provider counts tokens
  otherwise than we do, and where figures are late: it is a slope, not a balance.
- After a rest some may go at once, if the provider has told that it has them to give.
"""

from __future__ import annotations

import math

from workernode.limits.gcra import Gcra
from workernode.limits.headers import Standing
from workernode.limits.recent import Recent

MINUTE = 60.0
PACE = 0.98
MARGIN = 1 - PACE
# Seconds of the pace that may be caught up when a message comes late, or goes at once after a rest.
CATCH_UP = 0.5
BURST = 15.0
# Seconds without bursts after a refusal: the provider is stricter than its headers say.
CALM = 600.0
# The slowest pace, as a part of the limit: we must call to hear how it stands.
SLOWEST = 0.01
# From so much of what was allowed on, the limit is what holds us back.
HELD_BACK = 0.8


class Pace:
    """One limit. `configured`: units a minute, None to learn it from the provider alone."""

    def __init__(self, configured: float | None) -> None:
        self._configured = configured
        self._limit = configured
        self._share = 1.0
        self._slope = math.inf  # units a second, of the whole key
        self._slope_until = 0.0
        self._calm_until = 0.0
        self._gcra: Gcra | None = None
        self._recent = Recent()

    def admits(self, now: float, cost: float, within: float) -> int | None:
        """How many more of `cost` units may go, now or within so many seconds; None: any number."""
        gcra = self._at(now)
        return None if gcra is None else gcra.admits(now + within, cost)

    def wait(self, now: float) -> float:
        """Seconds until something may go."""
        gcra = self._at(now)
        if gcra is None:
            return 0.0
        wait, slow = gcra.wait(now), max(0.0, self._slope_until - now)
        # When the slope ends the rest goes at the full pace again.
        return wait if wait <= slow else slow + (wait - slow) * gcra.rate / self._full()

    def spend(self, now: float, cost: float) -> None:
        """Counts what goes."""
        self._recent.add(now, cost)
        if gcra := self._at(now):
            gcra.spend(now, cost)

    def correct(self, now: float, cost: float) -> None:
        """Counts more, or below 0 less, of what has gone."""
        self._recent.add(now, cost)
        if gcra := self._at(now):
            gcra.correct(cost)

    def heard(self, now: float, told: Standing, cost: float) -> None:
        """Learns what an answer told; `cost` is what its own call had reserved."""
        self._limit = min(told.limit, self._configured or told.limit)
        if told.remaining is None:
            return
        if told.reset:
            slowest = SLOWEST * told.limit / MINUTE * min(told.reset / MINUTE, MINUTE / told.reset)
            left = told.remaining + cost - MARGIN * told.limit
            self._slope = max(left / told.reset, slowest)
            self._slope_until = now + told.reset
        gcra = self._at(now)
        if gcra is not None and now >= self._calm_until and gcra.ahead(now) <= CATCH_UP:
            gcra.tolerance = max(CATCH_UP, BURST * told.remaining / told.limit) * self._full() / gcra.rate

    def refused(self, now: float) -> None:
        """The provider found that too much went."""
        self._calm_until = now + CALM
        if self._gcra is not None:
            self._gcra.tighten(now, CATCH_UP * self._full() / self._gcra.rate)

    def share(self, fraction: float) -> None:
        """Our part of the limit from now on."""
        if self._gcra is not None:
            self._gcra.rate *= fraction / self._share
        self._share = fraction

    def used(self, now: float) -> float:
        """The part of the key's whole limit that we have used of late."""
        return 0.0 if self._limit is None else self._recent.rate(now) * MINUTE / self._limit

    def held_back(self, now: float) -> bool:
        """Whether we would have used more."""
        gcra = self._at(now)
        return gcra is not None and self._recent.rate(now) >= HELD_BACK * gcra.rate

    def _full(self) -> float:
        """Our pace where the provider has enough left, in units a second."""
        return (self._limit or math.inf) / MINUTE * PACE * self._share

    def _at(self, now: float) -> Gcra | None:
        """The limiter, at the rate of this moment."""
        if self._limit is None:
            return None
        rate = self._full()
        if now < self._slope_until:
            rate = min(rate, self._slope * self._share)
        if self._gcra is None:
            self._gcra = Gcra(rate, CATCH_UP * self._full() / rate, now)
            # What went before the limit was known counts against it.
            self._gcra.spend(now, self._recent.sum(now))
        elif rate != self._gcra.rate:
            self._gcra.change_rate(now, rate)
        return self._gcra
