from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from store import clean


@given(st.text(alphabet=st.characters(exclude_categories=())))
def test_text_is_unchanged_where_postgres_can_hold_it(value: str) -> None:
    fit = clean.text(value)
    assert "\0" not in fit
    assert fit.encode().decode() == fit
    assert clean.text(fit) == fit
    if "\0" not in value and not any("\ud800" <= letter <= "\udfff" for letter in value):
        assert fit == value


@given(st.integers())
def test_numbers_are_brought_to_the_nearest_that_fits(value: int) -> None:
    assert clean.count(value) == sorted([0, value, 2**63 - 1])[1]
    assert clean.status(value) == sorted([0, value, 2**31 - 1])[1]
    assert clean.key(value) == (value if 0 < value < 2**63 else 0)


@given(st.floats())
def test_moments_outside_the_calendar_are_unknown(value: float) -> None:
    fit = clean.moment(value)
    assert fit == value if 0 <= value < 253402300800 else fit is None
