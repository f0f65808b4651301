from __future__ import annotations

from workernode.limits.concurrency import WARM, Concurrency


def answers(upstream: Concurrency, now: float, count: int, *, seconds: float = 1.0, tokens: int = 100) -> None:
    for _ in range(count):
        upstream.succeeded(now, sent_at=now - seconds, in_flight=upstream.limit, output_tokens=tokens)


def test_it_starts_at_the_maximum_and_stays_there() -> None:
    upstream = Concurrency(128)
    answers(upstream, 10.0, 1000)
    assert upstream.limit == 128


def test_overload_lowers_it_once_a_round_trip() -> None:
    upstream = Concurrency(100)
    for _ in range(50):
        upstream.overloaded(10.0, sent_at=9.0)
    assert upstream.limit == 90
    upstream.overloaded(12.0, sent_at=10.5)
    assert upstream.limit == 81


def test_it_never_falls_below_one() -> None:
    upstream = Concurrency(3)
    for now in range(10):
        upstream.overloaded(float(now), sent_at=float(now))
    assert upstream.limit == 1


def test_it_grows_by_one_a_round_trip_where_it_is_needed() -> None:
    upstream = Concurrency(100)
    upstream.overloaded(0.0, sent_at=0.0)
    answers(upstream, 2.0, 91)
    assert upstream.limit == 91
    upstream.succeeded(3.0, sent_at=2.5, in_flight=10, output_tokens=1)
    assert upstream.limit == 91


def test_calls_from_before_a_decrease_do_not_raise_it() -> None:
    upstream = Concurrency(100)
    upstream.overloaded(10.0, sent_at=9.0)
    answers(upstream, 10.5, 500)
    assert upstream.limit == 90


def test_an_upstream_that_slows_down_is_spared_before_it_says_so() -> None:
    upstream = Concurrency(100)
    answers(upstream, 10.0, 2 * WARM)
    answers(upstream, 20.0, 60, seconds=6.0)
    assert upstream.limit < 100


def test_longer_answers_are_not_mistaken_for_a_slow_upstream() -> None:
    upstream = Concurrency(100)
    answers(upstream, 10.0, 2 * WARM, seconds=1.2, tokens=100)
    answers(upstream, 100.0, 200, seconds=10.2, tokens=1000)
    assert upstream.limit == 100


def test_milliseconds_are_not_the_upstreams_trouble() -> None:
    upstream = Concurrency(100)
    answers(upstream, 10.0, 2 * WARM, seconds=0.002)
    answers(upstream, 20.0, 200, seconds=0.2)
    assert upstream.limit == 100
