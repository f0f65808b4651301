"""Conditions of an AIModel's status, and when each began to hold. Pure.

https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/api-conventions.md
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple

from coordinator.operator.state.texts import one_line
from core.aimodels import written_time

Object = dict[str, Any]

READY, PROGRESSING, FAILED, SCALING = "Ready", "Progressing", "Failed", "Scaling"
# Why an AIModel is not Ready: what its workers or its Pods tell, or what the operator itself could not do.
WORKERS_FAIL, REFUSED = "WorkersFail", "Refused"


class Condition(NamedTuple):
    """`reason`: one word in CamelCase; `message`: for a person."""

    type: str
    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str


def found(conditions: Iterable[Mapping[str, Any]], kind: str) -> Mapping[str, Any]:
    """The one of this type; empty where there is none."""
    return next((each for each in conditions if each.get("type") == kind), {})


def written(
    conditions: Iterable[Condition], before: Iterable[Mapping[str, Any]], generation: int, now: float
) -> list[Object]:
    """As the status holds them. What is not told anew stays as it was `before`. A condition whose `status` is the
    same keeps the time of its last transition. `now`: Unix time in seconds.
    """
    old = {each["type"]: dict(each) for each in before}
    new = {each.type: _written(each, old.get(each.type), generation, now) for each in conditions}
    return list((old | new).values())


def _written(condition: Condition, before: Mapping[str, Any] | None, generation: int, now: float) -> Object:
    same = before is not None and before.get("status") == condition.status
    since = before.get("lastTransitionTime") if before is not None and same else None
    return {
        "type": condition.type,
        "status": condition.status,
        "reason": condition.reason,
        "message": one_line(condition.message),
        "lastTransitionTime": since or written_time(now),
        "observedGeneration": generation,
    }
