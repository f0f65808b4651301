"""When an operator is alive, and when it is ready."""

from __future__ import annotations

import pytest

from coordinator.operator.cluster.health import AWAY_SECONDS, Contact, Sync
from core.cluster import ClusterError
from core.liveness import Beat


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_an_api_server_that_is_away_is_progress_up_to_a_limit() -> None:
    clock = Clock()
    contact, beat = Contact(clock), Beat(60.0, clock)
    contact.silent()
    for _ in range(3):
        clock.now += AWAY_SECONDS / 4
        contact.silent()
        contact.beat(beat)
    assert beat.last == clock.now
    last = clock.now
    clock.now += AWAY_SECONDS / 2
    contact.beat(beat)
    assert beat.last == last
    contact.answered()
    contact.beat(beat)
    assert beat.last == clock.now
    assert contact.away() == 0


def test_a_leader_is_ready_while_it_knows_how_things_are_and_another_always() -> None:
    clock = Clock()
    sync = Sync(clock, every=10.0)
    sync.check()
    sync.begins()
    with pytest.raises(ClusterError, match="nothing was listed yet"):
        sync.check()
    sync.failed("status 403 Forbidden")
    with pytest.raises(ClusterError, match="403"):
        sync.check()
    sync.done()
    clock.now += 59.0
    sync.check()
    sync.failed("the API server does not answer")
    clock.now += 2.0
    with pytest.raises(ClusterError, match="61 s ago: the API server does not answer"):
        sync.check()
    sync.ends()
    sync.check()
