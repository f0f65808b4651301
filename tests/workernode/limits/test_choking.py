"""An upstream that chokes before it says so: its limit is found, and hardly any call is refused."""

from __future__ import annotations

import random

from tests.workernode.limits.simulation import Clock
from workernode.limits.concurrency import Concurrency

BEARS = 30
SECONDS = 2.0


class Upstream:
    """Answers in `SECONDS`, up to `BEARS` calls at once; slower above, and not at all from twice as many on."""

    def __init__(self, maximum: int) -> None:
        self.clock = Clock()
        self.random = random.Random(1)
        self.limit = Concurrency(maximum)
        self.running = self.answered = self.refused = 0
        self.fill()

    def fill(self) -> None:
        while self.running < self.limit.limit:
            self.running += 1
            self._call()

    def _call(self) -> None:
        began = self.clock.now
        if self.running > 2 * BEARS:
            self.clock.after(0.02, lambda: self._refused(began))
            return
        tokens = self.random.randint(50, 400)
        slow = max(1.0, self.running / BEARS) ** 2
        self.clock.after(SECONDS * slow * tokens / 200, lambda: self._answered(began, tokens))

    def _refused(self, began: float) -> None:
        self.refused += 1
        self.limit.overloaded(self.clock.now, sent_at=began)
        self.running -= 1
        self.clock.after(1.0, self.fill)

    def _answered(self, began: float, tokens: int) -> None:
        self.answered += 1
        self.limit.succeeded(self.clock.now, sent_at=began, in_flight=self.running, output_tokens=tokens)
        self.running -= 1
        self.fill()


def test_the_limit_is_found() -> None:
    upstream = Upstream(128)
    upstream.clock.run(upstream.clock.now + 300)
    assert BEARS <= upstream.limit.limit <= 2 * BEARS + 1
    answered, refused = upstream.answered, upstream.refused
    upstream.clock.run(upstream.clock.now + 1200)
    assert upstream.refused - refused <= 0.01 * (upstream.answered - answered)


def test_an_upstream_that_bears_all_is_given_all() -> None:
    upstream = Upstream(BEARS)
    upstream.clock.run(upstream.clock.now + 600)
    assert (upstream.limit.limit, upstream.refused) == (BEARS, 0)
