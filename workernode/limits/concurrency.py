"""How many calls an upstream bears at once: additive increase, multiplicative decrease, below a maximum.

On overload l ← max(1, min(l − 1, 0.9 l)), at most once a round trip: calls sent before the last decrease prove
nothing about it. Where at least half of l is in flight, l grows by 1 a round trip. (The rule of
https://github.com/Netflix/concurrency-limits, AIMDLimit, which grows with every call.)

It starts at the maximum: an upstream that copes is never slower for it.
"""

from __future__ import annotations

BACK_OFF = 0.9
# A model's latency grows with its answer: it is measured per token, the prompt counting for so many.
PROMPT_AS_TOKENS = 20
# The weight of a call in the short-term and in the long-term mean, and the calls before both mean something.
SHORT = 1 / 20
LONG = 1 / 400
WARM = 100
# The upstream chokes when its latency per token is so many times what it is in the long term…
CHOKES = 2.0
# …and a call takes at least so many seconds: below, it is the network's or our own time.
NOTICEABLE = 1.0


class Concurrency:
    """The limit of one upstream. Times are monotonic seconds."""

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self._limit = float(maximum)
        self._decreased_at = float("-inf")
        self._short = 0.0
        self._long = 0.0
        self._calls = 0

    @property
    def limit(self) -> int:
        """Calls that may run at once."""
        return int(self._limit)

    def succeeded(self, now: float, *, sent_at: float, in_flight: int, output_tokens: int | None) -> None:
        """An answer has come whole. `in_flight`: calls that ran meanwhile, this one counted. `output_tokens`: None
        where the time that it took says nothing, as in a batch.
        """
        if 2 * in_flight < self._limit:
            return  # it says nothing about the limit
        if output_tokens is not None and self._chokes(now - sent_at, output_tokens):
            self.overloaded(now, sent_at=sent_at)
        elif sent_at >= self._decreased_at:
            self._limit = min(self._maximum, self._limit + 1 / self._limit)

    def overloaded(self, now: float, *, sent_at: float) -> None:
        """The upstream refused a call as too much, or let it wait for too long."""
        if sent_at < self._decreased_at:
            return
        self._limit = max(1.0, min(self._limit - 1, BACK_OFF * self._limit))
        self._decreased_at = now

    def _chokes(self, seconds: float, tokens: int) -> bool:
        normal = seconds / (tokens + PROMPT_AS_TOKENS)
        self._calls += 1
        # While there are few calls, a mean is that of all of them.
        self._short += max(SHORT, 1 / self._calls) * (normal - self._short)
        self._long += max(LONG, 1 / self._calls) * (normal - self._long)
        return self._calls >= WARM and seconds >= NOTICEABLE and self._short > CHOKES * self._long
