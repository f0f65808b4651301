"""What Events say: failures, recoveries, and when a failure is over."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.operator.state.failures import QUIET_SECONDS, Failure, News, about, from_status, heard, over
from coordinator.operator.state.status import Seen, status_of
from tests.coordinator.operator.objects import NOON, Object, body, clock, deployed, event, model

KEY_REFUSED = Failure("AuthenticationError", "AuthenticationError is told", NOON, 1)


def after(*events: Object, news: News = News()) -> News:  # noqa: B008 (it is frozen)
    for each in events:
        news = heard(news, each, 1)
    return news


@pytest.mark.parametrize(
    "reason",
    [
        "ConfigurationError",
        "AuthenticationError",
        "MessageQueueConnectionError",
        "APIQuotaExceededError",
        "GeneralError",
    ],
)
def test_a_warning_with_one_of_the_five_reasons_is_a_failure(reason: str) -> None:
    assert after(event(reason, message="It is\n broken.")).failure == Failure(reason, "It is broken.", NOON, 1)


@pytest.mark.parametrize(
    "told",
    [
        event("BackOff"),
        event("AuthenticationError", type="Normal"),
        event("Recovered", type="Warning"),
        event("ScalingReplicaSet", type="Normal"),
        event("AuthenticationError", type=None),
    ],
)
def test_anything_else_is_none(told: Object) -> None:
    assert after(told) == News()


def test_a_recovery_that_is_newer_ends_it() -> None:
    failed, recovered = event("AuthenticationError", 0, 1), event("Recovered", 5, 2)
    assert after(failed, recovered).failure is None
    assert after(recovered, failed).failure is None
    assert after(event("Recovered", 0, 1), event("AuthenticationError", 5, 2)).failure is not None


def test_within_one_second_the_order_of_writing_counts() -> None:
    assert after(event("AuthenticationError", 3, 9), event("Recovered", 3, 10)).failure is None
    assert after(event("AuthenticationError", 3, 10), event("Recovered", 3, 9)).failure is not None


def test_an_event_that_is_told_again_counts_from_then() -> None:
    again = event("AuthenticationError", 60, 7, count=2)
    failure = after(event("AuthenticationError", 0, 1), again).failure
    assert failure is not None
    assert failure.at == NOON + 60


_EVENTS = st.builds(
    event,
    st.sampled_from(["Recovered", "AuthenticationError", "GeneralError", "BackOff"]),
    st.integers(0, 3),
    st.integers(1, 4),
)


@given(st.lists(_EVENTS, max_size=6, unique_by=lambda each: each["metadata"]["resourceVersion"]), st.randoms())
def test_the_order_in_which_they_are_heard_does_not_matter(events: list[Object], random: Any) -> None:
    shuffled = [*events, *events]
    random.shuffle(shuffled)
    assert after(*shuffled) == after(*events)


@pytest.mark.parametrize(
    ("times", "at"),
    [
        ({"lastTimestamp": clock(5)}, 5),
        ({"lastTimestamp": None, "eventTime": "2026-01-01T12:00:07.250000Z"}, 7),
        ({"lastTimestamp": clock(1), "series": {"lastObservedTime": "2026-01-01T12:00:09.000000Z"}}, 9),
        ({"lastTimestamp": "yesterday"}, 2),
    ],
)
def test_when_it_was_told_last(times: Object, at: int) -> None:
    told = event("GeneralError") | times
    told["metadata"]["creationTimestamp"] = clock(2)
    assert after(told).at == NOON + at


def test_messages_are_bounded() -> None:
    failure = after(event("GeneralError", message="x\r\n\x1b[31m" * 5000)).failure
    assert failure is not None
    assert len(failure.message) <= 1000
    assert failure.message.isprintable()


def test_whom_an_event_is_about() -> None:
    assert about(event("GeneralError")) == ("team-a", "gpt")
    earlier = event("GeneralError")
    del earlier["involvedObject"]["apiVersion"]
    assert about(earlier) == ("team-a", "gpt")
    foreign = event("GeneralError")
    foreign["involvedObject"]["namespace"] = "team-b"  # nobody is spoken of from another namespace
    assert about(foreign) == ("team-a", "gpt")


@pytest.mark.parametrize(
    "changed",
    [
        {"involvedObject": {"kind": "AIModel", "name": "gpt", "apiVersion": "example.com/v1"}},
        {"involvedObject": {"kind": "Pod", "name": "gpt", "apiVersion": "v1"}},
        {"involvedObject": {"kind": "AIModel", "apiVersion": "model.youxam.com/v1alpha1"}},
        {"involvedObject": {}},
        {"source": {"component": "agentos-operator"}},
        {"source": {}, "reportingComponent": "agentos-operator"},
    ],
)
def test_events_about_others_and_the_operators_own_are_left_out(changed: Object) -> None:
    assert about(event("GeneralError") | changed) is None


def test_a_change_ends_it() -> None:
    assert over(KEY_REFUSED, model(generation=2), deployed(1, ready=0), NOON + 1)
    assert not over(KEY_REFUSED, model(), deployed(1, ready=0), NOON + 10_000)


def test_workers_that_are_ready_end_it_after_a_while() -> None:
    assert not over(KEY_REFUSED, model(), deployed(2), NOON + QUIET_SECONDS)
    assert over(KEY_REFUSED, model(), deployed(2), NOON + QUIET_SECONDS + 1)


@pytest.mark.parametrize("some", [{"ready": 1}, {"updated": 1}, {"there": 3}, {"ready": 0}])
def test_some_that_are_ready_do_not(some: dict[str, int]) -> None:
    assert not over(KEY_REFUSED, model(), deployed(2, **some), NOON + 1000)


def test_what_the_controller_has_not_seen_yet_does_not() -> None:
    changed = deployed(2)
    changed["metadata"]["generation"] = 2
    assert not over(KEY_REFUSED, model(), changed, NOON + 1000)


def test_without_workers_nobody_is_left_who_could_recover() -> None:
    assert over(KEY_REFUSED, model(), deployed(0), NOON + 1)
    assert not over(KEY_REFUSED, model(), deployed(0, there=1), NOON + 1)
    assert not over(KEY_REFUSED, model(), None, NOON + 1000)


def stored(failure: Failure | None, at: float, before: Object | None = None, **seen: Any) -> Object:
    """The AIModel with the status that was written then."""
    found = body()
    seen_now = Seen(scaler="spec", replicas=1, deployment=deployed(1), failure=failure, **seen)
    return found | {"status": status_of(model(), seen_now, before or {}, at)}


def test_another_operator_knows_the_failure() -> None:
    news = from_status(stored(KEY_REFUSED, NOON + 1))
    assert news.failure == KEY_REFUSED._replace(at=NOON + 1)
    assert after(event("AuthenticationError", 0, 5), news=news).failure == KEY_REFUSED
    assert after(event("AuthenticationError", 0, 5), event("Recovered", 0, 6), news=news).failure is None
    assert after(event("Recovered", -60, 4), news=news).failure is not None


def test_another_operator_knows_what_is_over() -> None:
    failed = stored(KEY_REFUSED, NOON + 1)
    well = stored(None, NOON + 30, failed["status"])
    news = from_status(well)
    assert news.failure is None
    assert after(event("AuthenticationError", 0, 5), news=news) == news
    assert after(event("AuthenticationError", 31, 9), news=news).failure is not None


def test_what_the_operator_could_not_do_is_no_failure_of_workers() -> None:
    assert from_status(stored(None, NOON, refused="the API server refuses Deployment gpt-deployment")).failure is None
    assert from_status(stored(KEY_REFUSED, NOON, refused="no")).failure is None


def test_events_about_an_aimodel_of_that_name_before_this_one_are_no_news() -> None:
    born = body()
    born["metadata"]["creationTimestamp"] = clock(60)
    assert after(event("GeneralError", 30), news=from_status(born)).failure is None
    assert after(event("GeneralError", 90), news=from_status(born)).failure is not None
