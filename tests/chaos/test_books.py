"""The comparison of the books finds every difference, and lets pass only what has a reason."""

from __future__ import annotations

import pytest

from tests.chaos.books import KILLED, UNREAD, Comparison, LedgerRow, Life, Outage, compare, repeated
from tests.double.book import Entry

LIVES = {"killed": Life("killed", 100.0), "well": Life("well", None)}


def row(name: str = "a", outcome: str = "completed", request_id: str = "r") -> LedgerRow:
    return LedgerRow(name, request_id, outcome)


def call(key: str = "well", began_at: float = 98.0, ended_at: float | None = 99.0, name: str = "a") -> Entry:
    return Entry(name, key, began_at, ended_at, "running" if ended_at is None else "answered")


def compared(ledger: list[LedgerRow], calls: list[Entry], *outages: Outage) -> Comparison:
    return compare(ledger, calls, LIVES, outages)


def test_equal_books_have_no_difference() -> None:
    found = compared([row("a"), row("b", "failed")], [call(name="b"), call(name="a")])
    assert (found.ledger, found.calls, found.errors, found.explained) == (2, 2, [], {})


@pytest.mark.parametrize("outcome", ["completed", "failed", "expired", "quarantined"])
def test_a_row_that_the_provider_does_not_know_is_an_error(outcome: str) -> None:
    assert len(compared([row(outcome=outcome)], []).errors) == 1


@pytest.mark.parametrize("outcome", ["cancelled", "abandoned", "retried"])
def test_a_call_may_be_cut_off_before_the_provider_has_read_it(outcome: str) -> None:
    found = compared([row(outcome=outcome)], [])
    assert (found.errors, found.explained) == ([], {UNREAD: 1})


@pytest.mark.parametrize("ended_at", [None, 95.5, 100.5])
def test_a_killed_worker_could_not_tell_of_its_calls(ended_at: float | None) -> None:
    found = compared([], [call("killed", 90.0, ended_at)])
    assert (found.errors, found.explained) == ([], {KILLED: 1})


@pytest.mark.parametrize(
    "untold",
    [call("well"), call("nobody"), call("killed", 80.0, 90.0), call("killed", 106.0, None)],
    ids=["its worker lives", "it has no worker", "there was time to tell", "it came after the kill"],
)
def test_a_call_that_is_not_in_the_ledger_needs_a_reason(untold: Entry) -> None:
    assert len(compared([], [untold]).errors) == 1


def test_time_in_which_nothing_could_be_told_does_not_count() -> None:
    untold = call("killed", 80.0, 90.0)
    assert not compared([], [untold], Outage("broker", 85.0, 96.0)).errors
    assert compared([], [untold], Outage("broker", 85.0, 92.0)).errors
    assert compared([], [untold], Outage("broker", 101.0, 120.0)).errors


def test_a_name_that_occurs_twice_is_an_error_on_either_side() -> None:
    assert len(compared([row(), row()], [call()]).errors) == 1
    assert len(compared([row()], [call(), call()]).errors) == 1


def test_calls_of_one_request_that_were_answered_twice_are_counted() -> None:
    ledger = [row("a"), row("b"), row("c", "retried"), row("d", request_id="other")]
    assert repeated(ledger) == 1
