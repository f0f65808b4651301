"""Why Pods do not start."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.operator.state.podtrouble import LASTS_SECONDS, STEADY_SECONDS, Trouble, trouble_of
from tests.coordinator.operator.objects import NOON, Object, clock, deployed

LATER = NOON + LASTS_SECONDS + 1


def pod(state: Object, *, name: str = "gpt-1", started: float = 0, **container: Any) -> Object:
    status = {"name": "worker", "ready": False, "restartCount": 0, "state": state} | container
    return {
        "metadata": {"name": name},
        "status": {"startTime": clock(started), "containerStatuses": [status]},
    }


def waiting(reason: str, message: str | None = "as it says") -> Object:
    return {"waiting": {"reason": reason, "message": message}}


ENDED: Object = {"terminated": {"exitCode": 137, "reason": "OOMKilled", "message": "whatever it wrote"}}
RUNNING: Object = {"running": {"startedAt": clock(10)}}


@pytest.mark.parametrize("reason", ["ImagePullBackOff", "InvalidImageName", "CreateContainerConfigError"])
def test_what_lasts_is_a_trouble(reason: str) -> None:
    assert trouble_of(None, [pod(waiting(reason))], LATER) == Trouble(reason, "Pod gpt-1: as it says")
    assert trouble_of(None, [pod(waiting(reason))], NOON + 1) is None


def test_an_image_that_is_tried_again_is_the_same_trouble() -> None:
    found = trouble_of(None, [pod(waiting("ErrImagePull", None))], LATER)
    assert found == Trouble("ImagePullBackOff", "Pod gpt-1: no reason is given")


@pytest.mark.parametrize(
    "healthy",
    [
        pod(waiting("ContainerCreating")),
        pod(waiting("PodInitializing")),
        pod(RUNNING),
        pod(RUNNING, ready=True, restartCount=7, lastState=ENDED),
        pod(waiting("CrashLoopBackOff"), restartCount=1, lastState=ENDED),
        pod(ENDED, restartCount=1),
        {"metadata": {"name": "gpt-1"}},
        {"metadata": {"name": "gpt-1"}, "status": {"containerStatuses": None, "conditions": None}},
        {**pod(waiting("ImagePullBackOff")), "metadata": {"name": "gpt-1", "deletionTimestamp": clock(0)}},
    ],
)
def test_what_may_pass_is_none(healthy: Object) -> None:
    assert trouble_of(deployed(1, ready=0), [healthy], LATER) is None


@pytest.mark.parametrize("state", [waiting("CrashLoopBackOff"), ENDED, RUNNING])
def test_a_container_that_ends_again_and_again_is_one_trouble_all_the_time(state: Object) -> None:
    found = trouble_of(None, [pod(state, restartCount=2, lastState=ENDED)], LATER)
    told = "Pod gpt-1: the container worker ends with exit code 137 (OOMKilled), again and again"
    assert found == Trouble("CrashLoopBackOff", told)


def test_a_container_that_stays_up_is_well_again() -> None:
    up = pod(RUNNING, restartCount=5, lastState=ENDED)
    assert trouble_of(None, [up], NOON + 10 + STEADY_SECONDS - 1) is not None
    assert trouble_of(None, [up], NOON + 10 + STEADY_SECONDS) is None


def test_init_containers_count_as_well() -> None:
    found = pod(waiting("PodInitializing"))
    found["status"]["initContainerStatuses"] = [pod(waiting("ImagePullBackOff"))["status"]["containerStatuses"][0]]
    assert trouble_of(None, [found], LATER) == Trouble("ImagePullBackOff", "Pod gpt-1: as it says")


def test_a_pod_that_has_no_place_may_get_one() -> None:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
    told = {"lastTransitionTime": clock(0), "message": "0/3 nodes are available"}
    found = {"metadata": {"name": "gpt-1"}, "status": {"conditions": [condition | told]}}
    expected = Trouble("Unschedulable", "Pod gpt-1: 0/3 nodes are available", fails=False)
    assert trouble_of(None, [found], LATER) == expected
    assert trouble_of(None, [found], NOON) is None


def test_pods_that_the_api_server_refuses_to_make_are_a_trouble() -> None:
    condition = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded\n quota"}
    refused = deployed(1, there=0, ready=0, updated=0)
    refused["status"]["conditions"] = [condition | {"lastTransitionTime": clock(0)}]
    assert trouble_of(refused, [], LATER) == Trouble("FailedCreate", "exceeded quota")
    assert trouble_of(refused, [], NOON) is None


_PODS = st.lists(
    st.builds(
        lambda name, reason, restarts: pod(waiting(reason), name=name, restartCount=restarts),
        st.sampled_from(["a", "b", "c"]),
        st.sampled_from(["ImagePullBackOff", "CrashLoopBackOff", "ContainerCreating", "CreateContainerError"]),
        st.integers(0, 3),
    ),
    max_size=5,
)


@given(_PODS, st.randoms())
def test_the_order_of_pods_does_not_matter(pods: list[Object], random: Any) -> None:
    shuffled = [*pods]
    random.shuffle(shuffled)
    assert trouble_of(None, shuffled, LATER) == trouble_of(None, pods, LATER)
