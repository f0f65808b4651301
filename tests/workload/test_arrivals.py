from __future__ import annotations

import itertools
import random
import statistics

import pytest

from core.errors import ConfigurationError
from workload.arrivals import Arrival, at_rate, gamma, poisson, trace, within

TRACE = ["arrived_at,num_prefill_tokens,num_decode_tokens", "4.5,396,109", "0.5,374,44", "8.5,10,0"]


def gaps(arrivals: list[Arrival]) -> list[float]:
    return [later.at - earlier.at for earlier, later in itertools.pairwise(arrivals)]


@pytest.mark.parametrize("burstiness", [0.25, 1, 4])
@pytest.mark.parametrize("seed", range(3))
def test_gaps_have_the_rate_and_the_variation_asked_for(burstiness: float, seed: int) -> None:
    arrivals = list(itertools.islice(gamma(5, burstiness, random.Random(seed)), 20_000))
    assert all(gap >= 0 for gap in gaps(arrivals))
    assert statistics.fmean(gaps(arrivals)) == pytest.approx(1 / 5, rel=0.1)
    variation = statistics.stdev(gaps(arrivals)) / statistics.fmean(gaps(arrivals))
    assert variation == pytest.approx(burstiness**-0.5, rel=0.15)


def test_the_same_seed_is_the_same_load() -> None:
    first, again = (list(within(poisson(10, random.Random(7)), 5)) for _ in range(2))
    assert first == again
    assert all(0 < arrival.at < 5 for arrival in first)


def test_a_trace_is_read_in_the_order_of_time_from_its_first() -> None:
    assert trace(TRACE) == [Arrival(0, 374, 44), Arrival(4, 396, 109), Arrival(8, 10, 0)]


@pytest.mark.parametrize(
    "lines", [["4.5", "0.5", "1"], ["arrived_at", "4.5", "0.5", "1"], ["kind,arrived_at", "a,4.5", "b,0.5", "a,1"]]
)
def test_times_are_enough(lines: list[str]) -> None:
    assert trace(lines) == [Arrival(0), Arrival(0.5), Arrival(4)]


def test_a_trace_takes_another_rate_and_keeps_its_shape() -> None:
    faster = at_rate(trace(TRACE), 2)
    assert [arrival.at for arrival in faster] == [0, 0.5, 1]
    assert faster[1].prompt_tokens == 396
    assert at_rate(faster[:1], 2) == faster[:1]


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([], "lacks the column arrived_at"),
        (["when", "1"], "lacks the column arrived_at"),
        (["1,2", "3,4"], "lacks the column arrived_at"),
        (["arrived_at,num_prefill_tokens", "1,2"], "needs both or none"),
        (["1.5", "soon"], "line 2"),
        ([TRACE[0], "1,2,3", "1,2"], "line 3"),
        ([TRACE[0], "soon,2,3"], "line 2"),
        ([TRACE[0], "nan,2,3"], "line 2"),
        ([TRACE[0], "1,-2,3"], "line 2"),
    ],
)
def test_a_trace_that_is_wrong_is_refused_with_the_place(lines: list[str], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        trace(lines)
