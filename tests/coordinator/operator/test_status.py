"""What the status of an AIModel says."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.operator.state.conditions import Condition, found, written
from coordinator.operator.state.failures import Failure
from coordinator.operator.state.podtrouble import Trouble
from coordinator.operator.state.rollout import deployed as figures
from coordinator.operator.state.rollout import settled
from coordinator.operator.state.status import Seen, patch_of, status_of, wrong_status
from coordinator.operator.state.texts import one_line, read_time
from core.aimodels import written_time
from tests.coordinator.operator.objects import NOON, Object, body, clock, deployed, model

FAILURE = Failure("AuthenticationError", "The key is refused.", NOON, 1)
TROUBLE = Trouble("ImagePullBackOff", "Pod gpt-1: not found")
NO_PLACE = Trouble("Unschedulable", "Pod gpt-1: 0/3 nodes are available", fails=False)


def seen(wanted: int, **fields: Any) -> Seen:
    what: dict[str, Any] = {"scaler": "spec", "replicas": wanted, "deployment": deployed(wanted)}
    return Seen(**what | fields)


def told(what: Seen, before: Object | None = None, now: float = NOON, generation: int = 1) -> Object:
    return status_of(model(generation=generation), what, before or {}, now)


def condition(status: Object, kind: str) -> tuple[str, str, str]:
    found_one = found(status["conditions"], kind)
    return found_one["status"], found_one["reason"], found_one["message"]


@pytest.mark.parametrize(
    ("what", "state", "message"),
    [
        (seen(2), "Running", "ready: 2 of 2"),
        (seen(2, deployment=deployed(2, there=3, updated=1, ready=3)), "Running", "ready: 2 of 2"),
        (seen(2, deployment=deployed(2, ready=1)), "Pending", "ready: 1 of 2"),
        (seen(3, deployment=deployed(2)), "Pending", "ready: 2 of 3"),
        (seen(1, deployment=None), "Pending", "ready: 0 of 1"),
        (
            seen(1, deployment=deployed(1, ready=0), trouble=NO_PLACE),
            "Pending",
            "ready: 0 of 1; Pod gpt-1: 0/3 nodes are available",
        ),
        (seen(0), "Idle", "no replica is wanted"),
        (seen(0, scaler="backlog", backlog=0), "Idle", "no replica is wanted"),
        (seen(0, scaler="backlog"), "Pending", "no replica yet: whether requests wait is not known"),
        (seen(1, failure=FAILURE), "Failed", "AuthenticationError: The key is refused."),
        (seen(1, trouble=TROUBLE), "Failed", "ImagePullBackOff: Pod gpt-1: not found"),
        (seen(1, trouble=TROUBLE, failure=FAILURE), "Failed", "AuthenticationError: The key is refused."),
        (seen(1, refused="no\nrights", failure=FAILURE), "Failed", "ConfigurationError: no rights"),
        (seen(0, refused="no rights"), "Failed", "ConfigurationError: no rights"),
    ],
)
def test_state_and_message(what: Seen, state: str, message: str) -> None:
    status = told(what)
    assert (status["state"], status["message"]) == (state, message)
    assert condition(status, "Ready")[0] == ("True" if state in ("Running", "Idle") else "False")
    assert condition(status, "Failed")[0] == ("True" if state == "Failed" else "False")


def test_figures() -> None:
    status = told(seen(3, deployment=deployed(2, ready=1), backlog=7), generation=4)
    del status["conditions"]
    assert status == {
        "state": "Pending",
        "message": "ready: 1 of 3",
        "observedGeneration": 4,
        "replicas": 2,
        "desiredReplicas": 3,
        "readyReplicas": 1,
        "selector": "model.youxam.com/aimodel=gpt",
        "backlog": 7,
    }
    assert "backlog" not in told(seen(1))
    assert told(seen(1, backlog=0))["backlog"] == 0


def test_of_kedas_the_deployment_tells_what_is_wanted() -> None:
    what = Seen(scaler="keda", deployment=deployed(4))
    assert told(what)["desiredReplicas"] == 4
    assert told(msgspec.structs.replace(what, deployment=None))["desiredReplicas"] == 1
    assert told(msgspec.structs.replace(what, deployment=deployed(0)))["state"] == "Idle"


def test_who_scales_is_told() -> None:
    assert condition(told(seen(1)), "Scaling") == ("False", "ByHand", "spec.replicas says how many")
    keda = condition(told(Seen(scaler="keda", deployment=deployed(1))), "Scaling")
    assert keda == ("True", "KEDA", "by ScaledObject gpt-scaledobject; spec.replicas is without effect")
    ours = seen(2, scaler="backlog", backlog=9, why="9 requests, 5 for each")
    why = "9 requests, 5 for each; spec.replicas is without effect"
    assert condition(told(ours), "Scaling") == ("True", "BuiltIn", why)
    unknown = condition(told(msgspec.structs.replace(ours, backlog=None)), "Scaling")
    assert unknown[:2] == ("Unknown", "BacklogUnknown")


def test_progress_is_told() -> None:
    assert condition(told(seen(2)), "Progressing")[:2] == ("False", "Settled")
    rolling = condition(told(seen(2, deployment=deployed(2, there=3, updated=1))), "Progressing")
    assert rolling == ("True", "RollingOut", "wanted: 2, there: 3, updated: 1, ready: 2")
    late = deployed(2, updated=1)
    late["status"]["conditions"] = [
        {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "timed out"}
    ]
    assert condition(told(seen(2, deployment=late)), "Progressing") == (
        "False",
        "ProgressDeadlineExceeded",
        "timed out",
    )


def test_conditions_keep_the_time_of_their_last_transition() -> None:
    first = told(seen(1), now=NOON)
    second = told(seen(1, failure=FAILURE), first, now=NOON + 60, generation=2)
    since = {each["type"]: each["lastTransitionTime"] for each in second["conditions"]}
    assert since == {"Ready": clock(60), "Failed": clock(60), "Progressing": clock(0), "Scaling": clock(0)}
    assert {each["observedGeneration"] for each in second["conditions"]} == {2}


def test_conditions_of_others_stay() -> None:
    other = {"type": "Audited", "status": "True", "reason": "R", "message": "m", "lastTransitionTime": clock(0)}
    ours = written([Condition("Ready", "True", "R", "m")], [other], 1, NOON)
    assert [each["type"] for each in ours] == ["Audited", "Ready"]
    assert ours[0] == other


def test_one_that_cannot_be_read_fails_and_keeps_the_rest() -> None:
    before = told(seen(2, backlog=3))
    status = wrong_status(body(generation=5) | {"status": before}, "spec.type: is missing", NOON + 9)
    assert (status["state"], status["message"]) == ("Failed", "ConfigurationError: spec.type: is missing")
    assert (status["observedGeneration"], status["readyReplicas"], status["backlog"]) == (5, 2, 3)
    assert condition(status, "Ready")[:2] == ("False", "Refused")
    assert condition(status, "Scaling") == condition(before, "Scaling")
    fresh = wrong_status(body(), "spec.type: is missing", NOON)
    assert patch_of({}, fresh) == {"status": fresh}
    assert wrong_status(body() | {"status": fresh}, "spec.type: is missing", NOON + 60) == fresh


_COUNT = st.integers(0, 3)
_SEEN = st.builds(
    Seen,
    scaler=st.sampled_from(["spec", "backlog", "keda"]),
    deployment=st.none() | st.builds(deployed, _COUNT, _COUNT, _COUNT, _COUNT),
    replicas=st.none() | _COUNT,
    why=st.text(max_size=5),
    backlog=st.none() | _COUNT,
    failure=st.sampled_from([None, FAILURE]),
    trouble=st.sampled_from([None, TROUBLE, NO_PLACE]),
    refused=st.sampled_from(["", "no rights"]),
)


@given(_SEEN)
def test_what_is_the_same_makes_no_patch(what: Seen) -> None:
    first = told(what)
    assert patch_of(first, told(what, first, NOON + 1000)) is None


@given(_SEEN, _SEEN)
def test_the_patch_makes_one_of_the_other(one: Seen, other: Seen) -> None:
    before = told(one)
    after = told(other, before, NOON + 5)
    patch = (patch_of(before, after) or {"status": {}})["status"]
    merged = {name: value for name, value in (before | patch).items() if value is not None}
    assert merged == after
    assert patch.keys() <= {name for name in before | after if before.get(name) != after.get(name)}


@given(_SEEN)
def test_a_status_is_as_the_schema_has_it(what: Seen) -> None:
    status = told(what)
    assert status["state"] in ("Pending", "Running", "Idle", "Failed")
    assert status["message"].isprintable()
    for each in status["conditions"]:
        assert each["status"] in ("True", "False", "Unknown")
        assert each["reason"].isalnum()
        assert each["message"]


def test_settled() -> None:
    assert settled(deployed(2), 2)
    assert settled(deployed(0), 0)
    assert not settled(None, 0)
    assert not settled(deployed(2), 3)
    for some in ({"there": 3}, {"ready": 1}, {"updated": 1}):
        assert not settled(deployed(2, **some), 2)
    assert figures({"metadata": {}, "spec": {}}) == (1, 0, 0, 0, True)


@given(st.text(max_size=3000) | st.none() | st.integers())
def test_a_text_from_outside_is_one_bounded_line(text: Any) -> None:
    line = one_line(text, 100)
    assert len(line) <= 100
    assert line.isprintable()
    assert line == one_line(line, 100)


def test_times() -> None:
    assert written_time(NOON + 5.9) == clock(5)
    assert read_time(clock(5)) == NOON + 5
    assert read_time("2026-01-01T13:00:00.5+01:00") == NOON + 0.5
    for none in (None, "", "soon", 5):
        assert read_time(none) == 0
