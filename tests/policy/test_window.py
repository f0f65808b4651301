from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from policy.window import MIN_OUTSTANDING, Demand, part, stage_window, window

FIGURES = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 1000)), min_size=1, max_size=8)


def demands(figures: list[tuple[int, int]]) -> list[Demand]:
    return [Demand(f"c{number}", *each) for number, each in enumerate(figures)]


def parts(whole: int, told: list[Demand]) -> dict[str, int]:
    """What each reckons for itself."""
    return {each.name: part(whole, [other for other in told if other is not each], each) for each in told}


def test_the_window_is_what_is_held_and_what_ends_meanwhile() -> None:
    assert window(8, 0.0, 0.5) == 8
    assert window(8, 3.0, 0.5) == 10
    assert window(512, 600.0, 0.5) == 812


def test_no_more_than_one_call_waits_for_each_slot() -> None:
    assert window(8, 80.0, 1.0) == 16
    assert window(512, 4000.0, 1.0) == 1024


def test_calls_that_take_no_time_are_sent_ahead_as_many_as_end_on_the_way() -> None:
    assert window(8, 1000.0, 1.0) == 108


def test_a_model_without_workers_shows_a_backlog() -> None:
    assert window(0, 0.0, 0.5) == MIN_OUTSTANDING


def test_one_alone_has_all_of_it() -> None:
    assert part(100, [], Demand("a", 3, 1000)) == 100


def test_two_who_want_all_get_half_each() -> None:
    assert parts(100, demands([(0, 1000), (0, 500)])) == {"c0": 50, "c1": 50}


def test_what_others_do_not_use_is_free() -> None:
    assert parts(100, demands([(0, 1000), (5, 5), (0, 0)])) == {"c0": 90, "c1": 10, "c2": 0}


def test_a_newcomer_takes_its_half_of_a_window_that_is_full() -> None:
    assert parts(10, demands([(10, 100), (0, 100)])) == {"c0": 5, "c1": 5}


def test_what_cannot_be_divided_is_used() -> None:
    assert sum(parts(7, demands([(0, 9), (0, 9)])).values()) == 7


def test_a_stages_window_is_what_is_executed_and_the_next_batch() -> None:
    assert stage_window(3, 8, 0.0, 0.1) == 32
    assert stage_window(3, 8, 100.0, 0.1) == 34
    assert stage_window(0, 8, 0.0, 0.1) == 8


def test_whoever_waits_gets_one() -> None:
    assert parts(4, demands([(0, 9)] * 6)) == dict.fromkeys([f"c{number}" for number in range(6)], 1)


@given(st.integers(MIN_OUTSTANDING, 500), FIGURES)
def test_all_is_given_that_is_wanted_and_no_more_than_there_is(whole: int, figures: list[tuple[int, int]]) -> None:
    told = demands(figures)
    wanted = sum(sum(each) for each in figures)
    given_out = sum(parts(whole, told).values())
    assert given_out >= min(whole, wanted)
    if whole >= len(told):
        assert given_out == min(whole, wanted)


@given(st.integers(MIN_OUTSTANDING, 500), FIGURES)
def test_nobody_who_wants_more_has_less_than_another(whole: int, figures: list[tuple[int, int]]) -> None:
    found = parts(whole, demands(figures))
    for number, (outstanding, waiting) in enumerate(figures):
        mine = found[f"c{number}"]
        assert mine <= outstanding + waiting
        if mine < outstanding + waiting:
            assert mine >= max(found.values()) - 1


@given(st.integers(MIN_OUTSTANDING, 200), FIGURES)
def test_all_together_exceed_the_window_by_no_more_than_what_was_outstanding(
    whole: int, figures: list[tuple[int, int]]
) -> None:
    """Whether they fill their parts at once, or each after it has heard of the one before."""
    told = demands(figures)
    most = max(whole, len(told)) + sum(each.outstanding for each in told)
    assert (
        sum(filled(each, share).outstanding for each, share in zip(told, parts(whole, told).values(), strict=True))
        <= most
    )
    for number, mine in enumerate(told):
        told[number] = filled(mine, part(whole, told[:number] + told[number + 1 :], mine))
    assert sum(each.outstanding for each in told) <= most


def filled(demand: Demand, share: int) -> Demand:
    """After it has sent what its part allows."""
    sent = max(0, min(share - demand.outstanding, demand.waiting))
    return Demand(demand.name, demand.outstanding + sent, demand.waiting - sent)


@given(st.integers(MIN_OUTSTANDING, 500), FIGURES, st.randoms())
def test_the_order_in_which_others_were_heard_does_not_matter(
    whole: int, figures: list[tuple[int, int]], chance: random.Random
) -> None:
    told = demands(figures)
    others = told[1:]
    chance.shuffle(others)
    assert part(whole, others, told[0]) == part(whole, told[1:], told[0])
