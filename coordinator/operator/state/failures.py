"""What Events say of an AIModel's workers: that they fail, and that it is over. Pure.

Events come in any order (a list is in none), more than once, and from before the AIModel was changed: so what is
remembered is the newest of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, get_args

from bus.messages import Reason
from coordinator.operator.state.conditions import FAILED, READY, WORKERS_FAIL, found
from coordinator.operator.state.rollout import deployed, settled
from coordinator.operator.state.texts import one_line, read_time
from coordinator.operator.wanted.aimodel import AIModel, Key
from coordinator.operator.wanted.names import MANAGER
from core.aimodels import GROUP, KIND

# All replicas are ready: a failure that was told before that is over after such a silence. A worker that cannot serve
# is not ready for longer: its probe fails twice.
QUIET_SECONDS = 15.0
# A failure's condition may be so much younger than the Event that has told of it.
NOTED_SECONDS = 10.0
REASONS = frozenset(get_args(Reason))


class Failure(NamedTuple):
    """`reason`: one of the contract's five. `at`: when it was told, Unix time. `generation`: the AIModel's then."""

    reason: str
    message: str
    at: float
    generation: int


class News(NamedTuple):
    """The newest that was told. `at`: Unix time in seconds; `version`: orders what was told within one second.

    `failure`: None if that was a recovery, or the failure is over.
    """

    at: float = 0.0
    version: int = 0
    failure: Failure | None = None


def about(event: Mapping[str, Any]) -> Key | None:
    """Which AIModel a worker's core/v1 Event is about; None: it is about something else, or the operator's own."""
    involved = event.get("involvedObject") or {}
    group, _, _ = (involved.get("apiVersion") or GROUP).partition("/")  # some programs leave it out
    ours = MANAGER in ((event.get("source") or {}).get("component"), event.get("reportingComponent"))
    if ours or involved.get("kind") != KIND or group != GROUP or not involved.get("name"):
        return None
    # Of the Event itself: whoever may write to one namespace has nothing to say about another.
    return event["metadata"]["namespace"], involved["name"]


def heard(news: News, event: Mapping[str, Any], generation: int) -> News:
    """After an Event about the AIModel. `generation`: the AIModel's now."""
    failed = event.get("type") == "Warning" and event.get("reason") in REASONS
    recovered = event.get("type") == "Normal" and event.get("reason") == "Recovered"
    at, version = _place(event)
    if not (failed or recovered) or (at, version) <= (news.at, news.version):
        return news
    failure = Failure(event["reason"], one_line(event.get("message") or ""), at, generation) if failed else None
    return News(at, version, failure)


def from_status(body: Mapping[str, Any]) -> News:
    """What another operator has known, as the status of the AIModel tells. Older Events are no news then, nor are
    those about an AIModel of that name that was before this one.
    """
    born = read_time(body["metadata"].get("creationTimestamp"))
    conditions = (body.get("status") or {}).get("conditions") or []
    failed, ready = found(conditions, FAILED), found(conditions, READY)
    at = max(born, read_time(failed.get("lastTransitionTime")))
    if failed.get("status") != "True" or ready.get("reason") != WORKERS_FAIL or failed.get("reason") not in REASONS:
        return News(at)
    generation = failed.get("observedGeneration") or 0
    return News(max(born, at - NOTED_SECONDS), 0, Failure(failed["reason"], failed["message"], at, generation))


def over(failure: Failure, model: AIModel, deployment: Mapping[str, Any] | None, now: float) -> bool:
    """Whether it no longer holds: then it is to be forgotten, `news._replace(failure=None)`.

    That is so when the AIModel was changed; when all its workers are ready and none has told of it again; and when it
    has no workers any more, as nobody is left who could tell. `now`: Unix time in seconds.
    """
    if model.generation > failure.generation:
        return True
    wanted = deployed(deployment).replicas
    if not settled(deployment, wanted):
        return False
    return wanted == 0 or now - failure.at > QUIET_SECONDS


def _place(event: Mapping[str, Any]) -> tuple[float, int]:
    """Among all Events: by the time at which it was told last, then by the order of writing."""
    times = [event.get("lastTimestamp"), event.get("eventTime"), (event.get("series") or {}).get("lastObservedTime")]
    version = str(event["metadata"].get("resourceVersion", ""))
    at = max(map(read_time, [*times, event["metadata"].get("creationTimestamp")]))
    return float(int(at)), int(version) if version.isdecimal() else 0
