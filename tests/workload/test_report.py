from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workload.report import Outcome, report, spread


def test_the_slo_counts_against_all_that_were_offered() -> None:
    outcomes = [
        Outcome(due=0, sent=0, done=1),
        Outcome(due=1, sent=1, done=3),
        Outcome(due=2, sent=2, done=2.1, error="model_unavailable"),
        Outcome(due=3, sent=3, error="unfinished"),
    ]
    figures = report(outcomes, slo_seconds=1)
    assert (figures.offered, figures.answered) == (4, 2)
    assert figures.failed == {"model_unavailable": 1, "unfinished": 1}
    assert figures.attainment == 1 / 4
    assert figures.latency is not None
    assert (figures.latency.mean, figures.latency.max) == (1.5, 2)
    assert figures.seconds == 3
    assert figures.answered_per_second == 2 / 3


def test_latency_counts_from_when_a_request_was_due() -> None:
    figures = report([Outcome(due=1, sent=4, first=5, done=6)])
    assert figures.latency is not None
    assert figures.first_token is not None
    assert figures.late is not None
    assert (figures.latency.p99, figures.first_token.p50, figures.late.max) == (5, 4, 3)
    assert figures.attainment is None


def test_nothing_offered_is_no_figure() -> None:
    figures = report([], slo_seconds=1)
    assert (figures.offered, figures.latency, figures.attainment, figures.seconds) == (0, None, None, 0)


@given(st.lists(st.floats(0, 1e6), min_size=1))
def test_percentiles_are_values_that_as_many_stay_under(values: list[float]) -> None:
    found = spread(values)
    assert found is not None
    for share, value in ((0.5, found.p50), (0.9, found.p90), (0.95, found.p95), (0.99, found.p99), (1, found.max)):
        assert value in values
        assert sum(each <= value for each in values) >= share * len(values)
        assert sum(each < value for each in values) < math.ceil(share * len(values))
    assert found.mean == pytest.approx(sum(values) / len(values))
