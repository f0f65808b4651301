"""What was used of late."""

from __future__ import annotations

import math

# Seconds after which what was used counts for about a third. Limits are per minute.
MEMORY = 30.0


class Recent:
    """A sum that fades, and the rate that it means."""

    def __init__(self) -> None:
        self._sum = 0.0
        self._at = 0.0
        self._since: float | None = None

    def add(self, now: float, amount: float) -> None:
        """Counts `amount`; below 0 takes back."""
        if self._since is None:
            self._since = self._at = now
        self._sum = max(0.0, self.sum(now) + amount)
        self._at = now

    def sum(self, now: float) -> float:
        """What was used in the last half minute or so."""
        return self._sum * math.exp(-(now - self._at) / MEMORY)

    def rate(self, now: float) -> float:
        """Units a second."""
        if self._since is None:
            return 0.0
        # At first the memory is shorter than it will be.
        span = MEMORY * -math.expm1(-max(1.0, now - self._since) / MEMORY)
        return self.sum(now) / span
