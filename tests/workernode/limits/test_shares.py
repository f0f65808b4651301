from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workernode.limits.shares import GONE_AFTER, NEWCOMER, Demand, Shares, fair_shares, fingerprint

INTERVAL = 5.0
DEMANDS = st.dictionaries(
    st.text(min_size=1, max_size=4), st.builds(Demand, st.floats(0, 3), st.booleans()), min_size=1, max_size=40
)


@given(DEMANDS)
def test_all_is_shared_and_no_more(demands: dict[str, Demand]) -> None:
    shares = fair_shares(demands)
    assert shares.keys() == demands.keys()
    assert sum(shares.values()) == pytest.approx(1.0)


@given(DEMANDS)
def test_nobody_starves(demands: dict[str, Demand]) -> None:
    for name, share in fair_shares(demands).items():
        assert share > 0
        if demands[name].held_back:
            assert share >= 1 / len(demands) - 1e-9


@given(DEMANDS)
def test_nobody_who_was_held_back_has_less_than_another(demands: dict[str, Demand]) -> None:
    shares = fair_shares(demands)
    for name, demand in demands.items():
        if demand.held_back:
            assert shares[name] >= max(shares.values()) - 1e-9


@given(DEMANDS)
def test_who_was_not_held_back_keeps_what_it_used_if_that_was_fair(demands: dict[str, Demand]) -> None:
    for name, share in fair_shares(demands).items():
        assert share >= min(demands[name].used, 1 / len(demands)) - 1e-9


@given(DEMANDS)
def test_the_order_of_the_notices_does_not_matter(demands: dict[str, Demand]) -> None:
    assert fair_shares(dict(reversed(demands.items()))) == pytest.approx(fair_shares(demands))


def test_one_that_is_busy_gets_nearly_all_that_the_idle_leave() -> None:
    demands = {f"idle-{number}": Demand(0.0, False) for number in range(15)}
    assert fair_shares({**demands, "busy": Demand(0.06, True)})["busy"] > 0.97


def test_all_reckon_the_same() -> None:
    names = ["a", "b", "c"]
    demands = {"a": Demand(0.5, True), "b": Demand(0.1, False), "c": Demand(0.3, True)}
    nodes = {name: Shares(name, 0.0, INTERVAL) for name in names}
    for name, node in nodes.items():
        node.told(demands[name])
        for other in names:
            node.heard(1.0, other, demands[other])
    assert sum(node.fraction(1.0) for node in nodes.values()) == pytest.approx(1.0)


def test_a_newcomer_is_cautious_until_the_others_must_have_spoken() -> None:
    node = Shares("new", 0.0, INTERVAL)
    assert node.fraction(1.0) == NEWCOMER
    assert node.fraction(INTERVAL) == 1.0


def test_a_newcomer_that_hears_another_shares_with_it() -> None:
    node = Shares("new", 0.0, INTERVAL)
    node.heard(0.1, "old", Demand(0.98, True))
    assert node.fraction(0.2) == pytest.approx(0.5)


def test_its_own_notice_counts_as_it_was_told() -> None:
    node = Shares("a", 0.0, INTERVAL)
    node.heard(9.0, "b", Demand(0.9, True))
    node.told(Demand(0.0, False))
    node.heard(9.0, "a", Demand(1.0, True))
    assert node.fraction(9.0) < 0.05


def test_one_that_is_silent_or_has_left_is_not_counted() -> None:
    node = Shares("a", 0.0, INTERVAL)
    for name in ("b", "c"):
        node.heard(10.0, name, Demand(0.5, True))
    node.left("c")
    assert node.fraction(10.0) == pytest.approx(0.5)
    assert node.fraction(10.0 + GONE_AFTER * INTERVAL) == pytest.approx(0.5)
    assert node.fraction(10.1 + GONE_AFTER * INTERVAL) == 1.0


def test_a_fingerprint_names_a_key_without_telling_it() -> None:
    known = fingerprint("sk-secret", "https://a")
    assert known == fingerprint("sk-secret", "https://a")
    assert len({known, fingerprint("sk-secret", "https://b"), fingerprint("sk-other", "https://a")}) == 3
    assert "secret" not in known
