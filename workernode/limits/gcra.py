"""The generic cell rate algorithm, with costs (ITU-T I.371, virtual scheduling).

With t now and I = cost ÷ rate, a spending conforms if t ≥ TAT − tolerance; then TAT = max(t, TAT) + I.
"""

from __future__ import annotations

import math


class Gcra:
    """One limit: `rate` units a second; after a rest as many at once as `tolerance` seconds bring.

    It may be overdrawn: what is spent before its time delays all that comes after.
    """

    def __init__(self, rate: float, tolerance: float, now: float) -> None:
        self.rate = rate
        self.tolerance = tolerance
        self._due = now  # TAT: the theoretical arrival time

    def ahead(self, now: float) -> float:
        """How much has been spent beyond what the rate has brought, in seconds of it."""
        return max(0.0, self._due - now)

    def wait(self, now: float) -> float:
        """Seconds until something may be spent."""
        return max(0.0, self.ahead(now) - self.tolerance)

    def admits(self, now: float, cost: float) -> int:
        """How many spendings of `cost` units conform now, one after the other."""
        room = self.tolerance - self.ahead(now)
        return math.floor(room * self.rate / cost) + 1 if room >= 0 else 0

    def spend(self, now: float, cost: float) -> None:
        """Takes `cost` units, conforming or not."""
        self._due = max(now, self._due) + cost / self.rate

    def correct(self, cost: float) -> None:
        """Adds to what was spent; below 0 gives back."""
        self._due += cost / self.rate

    def change_rate(self, now: float, rate: float) -> None:
        """What was spent ahead, and what may be, stay the same in units."""
        factor = self.rate / rate
        self._due = now + self.ahead(now) * factor
        self.tolerance *= factor
        self.rate = rate

    def tighten(self, now: float, tolerance: float) -> None:
        """A smaller tolerance. A burst that the larger one has let go is not made up for: that would be a stall."""
        ahead = self.ahead(now)
        self._due = now + max(min(ahead, tolerance), ahead - max(0.0, self.tolerance - tolerance))
        self.tolerance = tolerance
