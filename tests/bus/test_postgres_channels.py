"""What is Postgres's own about channels."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from bus.postgres.channels import channel_name


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_names_fit_postgres(channel: str) -> None:
    assert len(channel_name(channel).encode()) <= 63


def test_long_names_stay_apart() -> None:
    assert channel_name("x" * 100 + "1") != channel_name("x" * 100 + "2")
