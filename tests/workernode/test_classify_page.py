"""The table for people is the worker's own."""

from __future__ import annotations

import typing

import pytest

from bus.messages import Reason
from tools import errors_page
from workernode.classify import LOSSES, REFUSALS, Loss, Refusal, Retry, Rule, Upstream

RULES = [*REFUSALS.values(), *LOSSES.values()]


def test_the_page_is_up_to_date() -> None:
    assert errors_page.PAGE.read_text() == errors_page.page(), "run: python -m tools.errors_page"


def test_every_class_has_its_row() -> None:
    assert REFUSALS.keys() == set(Refusal)
    assert LOSSES.keys() == set(Loss)


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_does_not_contradict_itself(rule: Rule) -> None:
    assert (rule.fault is not None) == (rule.upstream is Upstream.FAULT) == (rule.retry is Retry.ELSEWHERE)
    assert rule.counted or rule.retry in (Retry.LATER, Retry.SLOWER)


def test_management_hears_only_reasons_that_it_knows() -> None:
    assert {rule.fault.reason for rule in RULES if rule.fault} < set(typing.get_args(Reason))
