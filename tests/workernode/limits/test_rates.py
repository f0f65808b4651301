from __future__ import annotations

import pytest

from workernode.limits.pace import CALM, CATCH_UP, PACE
from workernode.limits.rates import AT_HAND, FIRST_CALLS, PLENTY, RateLimits


def longest(low: float, high: float) -> float:
    return high


def told(limit: int, remaining: int, reset: str, what: str = "requests") -> dict[str, str]:
    return {
        f"x-ratelimit-limit-{what}": str(limit),
        f"x-ratelimit-remaining-{what}": str(remaining),
        f"x-ratelimit-reset-{what}": reset,
    }


def taken(rates: RateLimits, now: float, tokens: float = 1.0) -> int:
    """Takes all that is admissible at once."""
    count = 0
    while rates.admissible(now) and count < 10_000:
        rates.reserve(now, tokens)
        count += 1
    return count


def over(rates: RateLimits, now: float, seconds: float, tokens: float = 1.0) -> int:
    """Takes all that is admissible for so many seconds."""
    end, count = now + seconds, 0
    while now < end:
        count += taken(rates, now, tokens)
        now += max(0.01, rates.wait(now))
    return count


def test_without_any_limit_nothing_is_held_back() -> None:
    rates = RateLimits(None, None, longest)
    rates.heard(0.0, {}, 10)
    assert rates.admissible(0.0) == PLENTY
    assert (rates.reserve(0.0, 10), rates.wait(0.0), rates.used(0.0), rates.held_back(0.0)) == (0, 0, 0, False)


def test_until_an_answer_tells_the_limits_few_calls_begin_and_then_more() -> None:
    rates = RateLimits(None, None, longest)
    assert taken(rates, 0.0) == FIRST_CALLS
    assert rates.wait(0.0) > 0
    assert taken(rates, 1.0) == FIRST_CALLS
    assert taken(rates, 2.0) == 2 * FIRST_CALLS
    assert taken(rates, 100.0) > 1000


def test_what_went_before_the_limit_was_known_counts_against_it() -> None:
    rates = RateLimits(None, None, longest)
    taken(rates, 0.0)
    rates.heard(0.1, told(60, 59, "1s"), 1)
    assert rates.admissible(0.1) == 0
    assert rates.wait(0.1) == pytest.approx(FIRST_CALLS / PACE - CATCH_UP - AT_HAND, abs=0.1)


def test_the_pace_is_kept_for_requests() -> None:
    rates = RateLimits(600, None, longest)
    assert over(rates, 0.0, 60.0) == pytest.approx(PACE * 600, abs=600 / 60 + 1)


def test_the_pace_is_kept_for_tokens() -> None:
    rates = RateLimits(None, 60_000, longest)
    rates.heard(0.0, {}, 0)
    assert over(rates, 0.0, 60.0, tokens=500) == pytest.approx(PACE * 120, abs=4)


def test_the_lower_one_of_setting_and_header_counts() -> None:
    for setting, header in ((60, 600), (600, 60)):
        rates = RateLimits(setting, None, longest)
        rates.heard(0.0, told(header, header, "0s"), 1)
        taken(rates, 0.0)  # the burst of the start
        rest = rates.wait(0.0)
        assert over(rates, rest, 30.0) == pytest.approx(30, abs=2)


def test_a_call_taken_ahead_of_its_time_waits_for_it() -> None:
    rates = RateLimits(60, None, longest)
    assert rates.reserve(0.0, 1) == 0
    assert rates.reserve(0.0, 1) == pytest.approx(1 / PACE - CATCH_UP)
    assert rates.reserve(0.0, 1) == pytest.approx(2 / PACE - CATCH_UP)


def test_reservations_are_settled_by_what_was_used() -> None:
    rates = RateLimits(None, 6000, longest)
    rates.heard(0.0, {}, 0)
    rates.reserve(0.0, 980)
    assert rates.wait(0.0) == pytest.approx(10 - CATCH_UP - AT_HAND)
    rates.settle(1.0, 980, 490)
    assert rates.wait(1.0) == pytest.approx(4 - CATCH_UP - AT_HAND)
    rates.settle(1.0, 490, 980)
    assert rates.wait(1.0) == pytest.approx(9 - CATCH_UP - AT_HAND)


def test_little_left_is_spread_until_the_reset() -> None:
    rates = RateLimits(None, None, longest)
    rates.reserve(0.0, 1)
    rates.heard(0.0, told(600, 71, "30s"), 1)
    assert 55 <= over(rates, 0.0, 29.0) <= 66
    assert over(rates, 31.0, 30.0) == pytest.approx(PACE * 300, abs=8)


def test_an_empty_account_is_asked_now_and_then() -> None:
    rates = RateLimits(None, None, longest)
    rates.heard(0.0, told(600, 0, "60s"), 1)
    assert over(rates, 0.0, 59.0) in range(1, 13)


def test_a_refusal_holds_everything_until_its_time() -> None:
    rates = RateLimits(None, None, longest)
    rates.heard(0.0, {}, 0)
    rates.refused(0.0, 10.0)
    assert rates.admissible(5.0) == 0
    assert rates.reserve(5.0, 1) == pytest.approx(6.0)
    assert rates.wait(0.0) == pytest.approx(11.0 - AT_HAND)
    assert rates.admissible(11.0) == PLENTY


def test_refusals_of_one_volley_do_not_add_up() -> None:
    rates = RateLimits(None, None, longest)
    rates.heard(0.0, {}, 0)
    for _ in range(50):
        rates.refused(0.0, None)
    assert rates.wait(0.0) == pytest.approx(1.0 - AT_HAND)


def test_without_a_hint_the_pause_doubles_until_a_call_succeeds() -> None:
    rates = RateLimits(None, None, longest)
    rates.heard(0.0, {}, 0)
    now, pauses = 0.0, []
    for _ in range(8):
        rates.refused(now, None)
        pauses.append(round(rates.wait(now) + AT_HAND))
        now += pauses[-1] + 0.1
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]
    rates.settle(now, 10, 10)
    rates.refused(now, None)
    assert rates.wait(now) == pytest.approx(1.0 - AT_HAND)


def test_a_burst_goes_at_once_where_the_provider_has_it_to_give() -> None:
    rates = RateLimits(None, None, longest)
    rates.heard(0.0, told(600, 600, "0s"), 1)
    assert taken(rates, 0.0) == pytest.approx(150, abs=5)


def test_after_a_refusal_there_are_no_bursts_for_a_while() -> None:
    rates = RateLimits(None, None, longest)
    rates.heard(0.0, told(600, 600, "0s"), 1)
    rates.refused(0.0, 0.0)
    rates.heard(1.0, told(600, 600, "0s"), 1)
    assert taken(rates, 1.0) < 10
    rates.heard(CALM + 1, told(600, 600, "0s"), 1)
    assert taken(rates, CALM + 1) == pytest.approx(150, abs=5)


def test_a_share_is_a_part_of_the_pace() -> None:
    rates = RateLimits(600, None, longest)
    rates.share(0.25)
    assert over(rates, 0.0, 60.0) == pytest.approx(PACE * 150, abs=4)
    assert rates.used(60.0) == pytest.approx(PACE * 0.25, abs=0.03)


def test_it_knows_whether_it_was_held_back() -> None:
    rates = RateLimits(600, None, longest)
    for second in range(60):
        rates.reserve(float(second), 1)
    assert not rates.held_back(60.0)
    assert rates.used(60.0) == pytest.approx(0.1, abs=0.02)
    over(rates, 60.0, 60.0)
    assert rates.held_back(120.0)


def test_of_many_answers_at_once_one_is_listened_to() -> None:
    rates = RateLimits(None, None, longest)
    rates.heard(5.0, told(600, 600, "0s"), 1)
    rates.heard(5.001, told(60, 0, "60s"), 1)
    assert rates.admissible(5.001) > 10
    rates.heard(5.1, told(60, 0, "60s"), 1)
    assert over(rates, 5.1, 50.0) < 10
