"""Who leads: never two at once, and soon somebody."""

from __future__ import annotations

import copy
import random
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.operator.cluster.lease import Candidacy, Object

AT = datetime(2026, 1, 1, tzinfo=UTC)
SECONDS = 15.0


class Server:
    """Takes a Lease as the API server does: not over another's that has come in between."""

    def __init__(self) -> None:
        self.lease: Object | None = None
        self._version = 0

    def read(self) -> Object | None:
        return copy.deepcopy(self.lease)

    def write(self, lease: Object) -> Object | None:
        """None: refused."""
        now = self.lease["metadata"].get("resourceVersion") if self.lease else None
        if lease["metadata"].get("resourceVersion") != now:
            return None
        self._version += 1
        self.lease = copy.deepcopy(lease)
        self.lease["metadata"]["resourceVersion"] = str(self._version)
        return copy.deepcopy(self.lease)


def look(candidate: Candidacy, server: Server, now: float) -> str:
    """One look, without any delay."""
    candidate.saw(server.read(), now)
    move = candidate.move(now)
    if move != "wait" and (written := server.write(candidate.written("l", AT))) is not None:
        candidate.wins(written, now, now)
    return move


def test_the_first_makes_it_and_renews_it_and_the_other_waits() -> None:
    server, a, b = Server(), Candidacy("a", SECONDS), Candidacy("b", SECONDS)
    assert look(a, server, 0.0) == "make"
    assert a.holds(9.9)
    assert not a.holds(10.0)
    for now in (2.0, 4.0, 20.0):
        assert look(b, server, now) == "wait"
        assert look(a, server, now) == "renew"
        assert not b.holds(now)
    assert server.lease is not None
    assert server.lease["spec"]["leaseTransitions"] == 0


def test_it_is_taken_when_it_has_not_changed_for_as_long_as_its_holder_has_asked_for() -> None:
    server, a, b = Server(), Candidacy("a", 30.0), Candidacy("b", 3.0)
    look(a, server, 0.0)
    assert look(b, server, 1000.0) == "wait"  # it has just been seen
    assert look(b, server, 1029.9) == "wait"
    assert look(b, server, 1030.1) == "take"
    assert b.holds(1030.2)
    assert look(a, server, 1030.2) == "wait"
    assert server.lease is not None
    assert server.lease["spec"]["leaseTransitions"] == 1
    assert server.lease["spec"]["holderIdentity"] == "b"


def test_one_that_is_released_is_taken_at_once() -> None:
    server, a, b = Server(), Candidacy("a", SECONDS), Candidacy("b", SECONDS)
    look(a, server, 0.0)
    look(b, server, 1.0)
    assert server.write(a.written("l", AT, release=True)) is not None
    assert look(b, server, 2.0) == "take"
    assert b.holds(2.1)


def test_what_was_seen_before_a_sleep_takes_nothing() -> None:
    server, a, b = Server(), Candidacy("a", SECONDS), Candidacy("b", SECONDS)
    look(a, server, 0.0)
    b.saw(server.read(), 0.5)
    stale = b.written("l", AT)
    look(a, server, 2.0)
    assert b.move(100.0) == "take"  # it has slept since, as it does not know
    assert server.write(stale) is None


def test_who_renews_counts_from_when_it_has_asked() -> None:
    server, a = Server(), Candidacy("a", SECONDS)
    a.saw(server.read(), 0.0)
    written = server.write(a.written("l", AT))
    assert written is not None
    a.wins(written, 0.0, 8.0)  # the answer took that long
    assert a.left(8.0) == pytest.approx(2.0)
    a.lose()
    assert not a.holds(8.0)


@given(seed=st.integers(0, 2**32), count=st.integers(2, 4))
@settings(max_examples=60, deadline=None)
def test_there_are_never_two(seed: int, count: int) -> None:
    """Candidates whose requests take long, are lost on the way or on the way back, and who sleep in between."""
    chance, server = random.Random(seed), Server()
    candidates = [Candidacy(str(number), SECONDS) for number in range(count)]
    events = [(chance.uniform(0, 3), number, "look") for number in range(count)]
    led = 0
    for _ in range(400):
        events.sort(reverse=True)
        now, number, what = events.pop()
        one = candidates[number]
        led += sum(each.holds(now) for each in candidates)
        assert sum(each.holds(now) for each in candidates) <= 1
        sent = now
        if what == "look" and chance.random() < 0.9:
            one.saw(server.read(), now)
            if one.move(now) == "wait":
                one.lose()
            else:
                lease = one.written("l", AT)
                sent = now + _delay(chance)
                written = server.write(lease) if chance.random() < 0.9 else None
                if written is not None and chance.random() < 0.9:
                    one.wins(written, now, sent)
        events.append((sent + _delay(chance), number, "look"))
    assert led > 0


def _delay(chance: random.Random) -> float:
    return chance.choice([0.01, 0.5, 2.0, chance.uniform(0, 40)])
