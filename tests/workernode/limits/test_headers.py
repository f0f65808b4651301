from __future__ import annotations

from collections.abc import Mapping

import pytest

from workernode.limits.headers import LONGEST_WAIT, Standing, duration, standing, wait_asked_for

NOW = 1_750_000_000.0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after": "Sun, 15 Jun 2025 15:06:50 GMT"}, 10.0),
        ({"retry-after": "Sun, 15 Jun 2025 15:06:30 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, LONGEST_WAIT),
        ({"retry-after": "-5"}, 0.0),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6m0s"}, 360.0),
        ({"x-ratelimit-remaining-requests": "3", "x-ratelimit-reset-requests": "6m0s"}, None),
        (
            {
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-reset-requests": "1s",
                "x-ratelimit-remaining-tokens": "0",
                "x-ratelimit-reset-tokens": "120ms",
            },
            1.0,
        ),
        ({"retry-after": "2", "x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "9s"}, 2.0),
    ],
)
def test_the_wait_asked_for(headers: Mapping[str, str], seconds: float | None) -> None:
    assert wait_asked_for(headers, now=NOW) == seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1s", 1.0),
        ("6m0s", 360.0),
        ("120ms", 0.12),
        ("1h2m3.5s", 3723.5),
        ("1d", 86400.0),
        ("", None),
        ("s", None),
        ("5", None),
        ("1s later", None),
        ("1.2.3s", None),
    ],
)
def test_durations(text: str, seconds: float | None) -> None:
    assert duration(text) == seconds


LIMIT = {"x-ratelimit-limit-requests": "60"}


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        ({}, None),
        (LIMIT, Standing(60, None, None)),
        ({"x-ratelimit-limit-requests": "0"}, None),
        ({"x-ratelimit-limit-requests": "inf"}, None),
        ({"x-ratelimit-limit-requests": "many"}, None),
        (LIMIT | {"x-ratelimit-remaining-requests": "59", "x-ratelimit-reset-requests": "1s"}, Standing(60, 59, 1)),
        (
            LIMIT | {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "12.5"},
            Standing(60, 0, 12.5),
        ),
        (LIMIT | {"x-ratelimit-remaining-requests": "-3", "x-ratelimit-reset-requests": "-1"}, Standing(60, 0, None)),
        (
            LIMIT | {"x-ratelimit-remaining-requests": "99", "x-ratelimit-reset-requests": "inf"},
            Standing(60, 60, None),
        ),
    ],
)
def test_where_a_limit_stands(headers: Mapping[str, str], told: Standing | None) -> None:
    assert standing(headers, "requests") == told
    assert standing(headers, "tokens") is None
