"""Why Pods do not start. Pure.

https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from coordinator.operator.state.conditions import found
from coordinator.operator.state.texts import one_line, read_time

# What may pass by itself, such as a Secret that is made a moment later, has so long to do so.
LASTS_SECONDS = 15.0
# A container that came up again after its crashes is well after so long.
STEADY_SECONDS = 60.0
# Ends of a container before it is called a loop; the first may be chance.
CRASHES = 2
_CANNOT_START = {
    "ErrImagePull": "ImagePullBackOff",  # by turns
    "ImagePullBackOff": "ImagePullBackOff",
    **dict.fromkeys(("InvalidImageName", "ErrImageNeverPull", "ImageInspectError", "RegistryUnavailable")),
    **dict.fromkeys(("CreateContainerConfigError", "CreateContainerError", "RunContainerError")),
}

Object = Mapping[str, Any]


class Trouble(NamedTuple):
    """`reason`: as Kubernetes calls it. `fails`: it is for a person to mend, as far as one can tell."""

    reason: str
    message: str
    fails: bool = True


def trouble_of(deployment: Object | None, pods: Iterable[Object], now: float) -> Trouble | None:
    """The worst, or None. `pods`: the Deployment's, in any order; of one that is settled none need be given.

    `now`: Unix time in seconds.
    """
    troubles = [*_of_deployment(deployment, now)]
    for pod in pods:
        if not pod["metadata"].get("deletionTimestamp"):
            troubles += _of_pod(pod, now)
    return min(troubles, key=lambda each: (not each.fails, each), default=None)


def _of_deployment(deployment: Object | None, now: float) -> Iterator[Trouble]:
    """Pods that the API server refuses to make."""
    status = (deployment or {}).get("status") or {}
    condition = found(status.get("conditions") or [], "ReplicaFailure")
    if condition.get("status") == "True" and _lasts(condition.get("lastTransitionTime"), now):
        yield Trouble(condition.get("reason") or "FailedCreate", one_line(condition.get("message") or ""))


def _of_pod(pod: Object, now: float) -> Iterator[Trouble]:
    status = pod.get("status") or {}
    name = pod["metadata"]["name"]
    scheduled = found(status.get("conditions") or [], "PodScheduled")
    if scheduled.get("reason") == "Unschedulable" and _lasts(scheduled.get("lastTransitionTime"), now):
        yield Trouble("Unschedulable", _told(name, scheduled.get("message")), fails=False)
    for container in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        waiting = (container.get("state") or {}).get("waiting") or {}
        reason = waiting.get("reason", "")
        if reason in _CANNOT_START and _lasts(status.get("startTime"), now):
            yield Trouble(_CANNOT_START[reason] or reason, _told(name, waiting.get("message")))
        elif _loops(container, now):
            yield Trouble("CrashLoopBackOff", _told(name, _ended(container)))


def _loops(container: Object, now: float) -> bool:
    """Between its ends a container runs for a moment: that is the same loop."""
    if container.get("ready") or (container.get("restartCount") or 0) < CRASHES:
        return False
    running = (container.get("state") or {}).get("running")
    return running is None or now - read_time(running.get("startedAt")) < STEADY_SECONDS


def _ended(container: Object) -> str:
    """How it ended. Not what it has written: that may be anything."""
    ends = [(container.get(state) or {}).get("terminated") for state in ("state", "lastState")]
    end: Object = next(filter(None, ends), {})
    how = f"with exit code {end['exitCode']} ({end.get('reason') or 'Error'})" if "exitCode" in end else "at once"
    return f"the container {container['name']} ends {how}, again and again"


def _told(pod: str, message: Any) -> str:
    return one_line(f"Pod {pod}: {message or 'no reason is given'}")


def _lasts(since: Any, now: float) -> bool:
    return now - read_time(since) > LASTS_SECONDS
