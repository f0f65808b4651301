"""The number of slots at which a model gives the most tokens a second. Pure: counts and the clock come in."""

from __future__ import annotations

import statistics

# Samples, of about a second each, that make a rate.
SAMPLES = 5
# How long a rate holds: then the machine, or what is asked for, may be another.
FRESH_SECONDS = 300.0
# Before fewer slots are tried without need.
SETTLED_SECONDS = 60.0
# Of the best rate: what is no worse than that is as good, and more slots are better.
AS_GOOD = 0.95


class SlotSearch:
    """Climbs: keeps to the most slots whose rate is as good as the best, and tries its neighbours now and then.

    Only times in which every slot was in use say anything.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.slots = most
        self._since: float | None = None
        self._last: tuple[float, int, int] | None = None
        self._samples: list[float] = []
        self._rates: dict[int, tuple[float, float]] = {}

    def update(self, at: float, busy: int, decodes: int) -> int:
        """How many slots from now on. `at`: seconds; `busy`: slots in use; `decodes`: steps of the model so far, in
        each of which every busy slot gets a token.
        """
        self._since = at if self._since is None else self._since
        last, self._last = self._last, (at, busy, decodes)
        if last is None or at <= last[0] or decodes < last[2] or min(busy, last[1]) < self.slots:
            return self.slots
        self._samples.append((decodes - last[2]) * self.slots / (at - last[0]))
        if len(self._samples) == SAMPLES:
            self._rates[self.slots] = (statistics.fmean(self._samples), at)
            self._samples.clear()
            self._decide(at)
        return self.slots

    def _decide(self, at: float) -> None:
        self._rates = {slots: each for slots, each in self._rates.items() if at - each[1] < FRESH_SECONDS}
        best = max(rate for rate, _ in self._rates.values())
        good = max(slots for slots, (rate, _) in self._rates.items() if rate >= AS_GOOD * best)
        settled = self._since is not None and at - self._since >= SETTLED_SECONDS
        if good != self.slots:
            self._move(good, at)
        elif self.slots < self._most and self.slots + 1 not in self._rates:
            self._move(self.slots + 1, at)
        elif self.slots > 1 and self.slots - 1 not in self._rates and settled:
            self._move(self.slots - 1, at)

    def _move(self, slots: int, at: float) -> None:
        self.slots, self._since, self._last = slots, at, None
