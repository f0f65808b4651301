"""The index of deliveries, and the grace after an outage."""

from __future__ import annotations

from bus.pulsar.deliveries import GENERATION, STARTS, Deliveries, Outages, Record, Settled, Start


def index(*records: Record) -> Deliveries:
    deliveries = Deliveries()
    for record in records:
        deliveries.read(record)
    return deliveries


def test_a_start_that_nobody_has_ended_has_a_holder() -> None:
    deliveries = index(Record("a", 0, started=[b"1", b"2", b"3"]), Record("a", 1, settled=[b"1"], back=[b"2"]))
    assert deliveries.start(b"1") == deliveries.start(b"2") == deliveries.start(b"9") == Start("", 0)
    assert deliveries.start(b"3") == Start("a", 0)
    assert b"1" in deliveries.settled
    assert b"2" not in deliveries.settled


def test_a_former_holder_gives_nothing_back() -> None:
    deliveries = index(Record("a", 0, started=[b"1"]), Record("b", 0, started=[b"1"], crashes=[1]))
    deliveries.read(Record("a", 1, back=[b"1"]))
    deliveries.read(Record("a", 2, left=True))
    assert deliveries.start(b"1") == Start("b", 1)


def test_each_death_counts_once_and_the_next_start_carries_the_count() -> None:
    deliveries = index(Record("a", 0, started=[b"1"]))
    deliveries.bury("a")
    deliveries.bury("a")
    assert deliveries.start(b"1") == Start("", 1)
    deliveries.read(Record("b", 0, started=[b"0", b"1"], crashes=[0, 1]))
    assert deliveries.start(b"1") == Start("b", 1)
    deliveries.bury("b")
    assert deliveries.start(b"1") == Start("", 2)
    assert deliveries.start(b"0") == Start("", 1)


def test_who_leaves_in_good_order_or_lives_is_no_crash_and_earlier_ones_stay_counted() -> None:
    deliveries = index(Record("a", 0, started=[b"1", b"2"], crashes=[2, 0]), Record("a", 1, left=True))
    assert deliveries.start(b"1") == Start("", 2)
    assert deliveries.start(b"2") == Start("", 0)
    deliveries.bury("a")
    assert deliveries.start(b"1") == Start("", 2)
    deliveries.settle(b"1")
    assert deliveries.start(b"1") == Start("", 0)


def test_memory_is_bounded_and_the_last_are_remembered() -> None:
    settled = Settled()
    places = [b"%d" % number for number in range(3 * GENERATION)]
    for place in places:
        settled.add(place)
    assert all(place in settled for place in places[-GENERATION:])
    assert places[0] not in settled
    deliveries = index(Record("a", 0, started=[b"%d" % number for number in range(STARTS + 1)]))
    assert deliveries.start(b"0") == Start("", 0)
    assert deliveries.start(b"1") == Start("a", 0)


def test_after_an_outage_others_get_as_long_again() -> None:
    outages = Outages()
    outages.note(True, 100.0)
    assert outages.grace(100.0) == 0
    for now in (110.0, 115.0):
        outages.note(False, now)
    outages.note(True, 130.0)
    assert outages.grace(130.0) == 20
    assert outages.grace(145.0) == 5
    assert outages.grace(151.0) == 0
    outages.note(False, 131.0)
    outages.note(True, 132.0)
    assert outages.grace(132.0) == 18
