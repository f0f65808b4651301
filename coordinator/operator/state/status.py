"""What the status of an AIModel says. Pure: of the same, the same is said."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

import msgspec

from coordinator.operator.state.conditions import (
    FAILED,
    PROGRESSING,
    READY,
    REFUSED,
    SCALING,
    WORKERS_FAIL,
    Condition,
    found,
    written,
)
from coordinator.operator.state.failures import Failure
from coordinator.operator.state.podtrouble import Trouble
from coordinator.operator.state.rollout import deployed, settled
from coordinator.operator.state.texts import one_line
from coordinator.operator.wanted.aimodel import AIModel
from coordinator.operator.wanted.names import scaled_object_name, selector
from coordinator.operator.wanted.who import Scaler

Status = dict[str, Any]
State = Literal["Pending", "Running", "Idle", "Failed"]


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an AIModel. `scaler`: who decides on `replicas`, which are wanted now; None: the Deployment
    tells, as of KEDA's. `why`: the last decision of the built-in scaler. `backlog`: requests that wait; None: that is
    not known. `refused`: what the operator could not do, for a person.
    """

    scaler: Scaler
    deployment: Mapping[str, Any] | None = None
    replicas: int | None = None
    why: str = ""
    backlog: int | None = None
    failure: Failure | None = None
    trouble: Trouble | None = None
    refused: str = ""

    @property
    def wanted(self) -> int:
        """A Deployment that nobody has told a number has one replica."""
        if self.replicas is not None:
            return self.replicas
        return 1 if self.deployment is None else deployed(self.deployment).replicas


class _Verdict(NamedTuple):
    """`why`: the reason of the condition Ready. `failure`: what has failed, in one word."""

    state: State
    why: str
    message: str
    failure: str = ""


def status_of(model: AIModel, seen: Seen, before: Mapping[str, Any], now: float) -> Status:
    """The whole status. `before`: the one that is there, maybe empty; `now`: Unix time in seconds."""
    there = deployed(seen.deployment)
    verdict = _verdict(seen)
    told = [*_told(verdict), _progressing(seen), _scaling(model, seen)]
    return {
        **_headline(verdict),
        "observedGeneration": model.generation,
        "replicas": there.there,
        "desiredReplicas": seen.wanted,
        "readyReplicas": there.ready,
        "selector": selector(model.name),
        **({} if seen.backlog is None else {"backlog": seen.backlog}),
        "conditions": written(told, before.get("conditions") or [], model.generation, now),
    }


def wrong_status(body: Mapping[str, Any], text: str, now: float) -> Status:
    """Of an AIModel that cannot be read (`WrongAIModel`). What else its status says stays."""
    before = body.get("status") or {}
    generation = body["metadata"]["generation"]
    verdict = _refused(text)
    told = written(_told(verdict), before.get("conditions") or [], generation, now)
    return {**before, **_headline(verdict), "observedGeneration": generation, "conditions": told}


def patch_of(before: Mapping[str, Any], status: Status) -> dict[str, Any] | None:
    """The JSON merge patch (RFC 7396) that makes `status` of `before`; None: nothing has changed."""
    names = [*status, *(name for name in before if name not in status)]
    changed = {name: status.get(name) for name in names if before.get(name) != status.get(name)}
    return {"status": changed} if changed else None


def _verdict(seen: Seen) -> _Verdict:
    """The first that holds. What workers tell says more than what their Pods look like."""
    if seen.refused:
        return _refused(seen.refused)
    if seen.failure is not None:
        return _Verdict("Failed", WORKERS_FAIL, seen.failure.message, seen.failure.reason)
    if seen.trouble is not None and seen.trouble.fails:
        return _Verdict("Failed", "PodsFail", seen.trouble.message, seen.trouble.reason)
    if not seen.wanted:
        return _at_zero(seen)
    there = deployed(seen.deployment).ready
    message = f"ready: {min(there, seen.wanted)} of {seen.wanted}"
    if there >= seen.wanted:
        return _Verdict("Running", "Running", message)
    return _Verdict("Pending", "Pending", f"{message}; {seen.trouble.message}" if seen.trouble else message)


def _at_zero(seen: Seen) -> _Verdict:
    """One that wakes up when requests come is idle from the moment at which they would be seen."""
    if seen.scaler == "backlog" and seen.backlog is None:
        return _Verdict("Pending", "BacklogUnknown", "no replica yet: whether requests wait is not known")
    return _Verdict("Idle", "Idle", "no replica is wanted")


def _refused(text: str) -> _Verdict:
    return _Verdict("Failed", REFUSED, text, "ConfigurationError")


def _headline(verdict: _Verdict) -> Status:
    message = f"{verdict.failure}: {verdict.message}" if verdict.failure else verdict.message
    return {"state": verdict.state, "message": one_line(message)}


def _told(verdict: _Verdict) -> Iterator[Condition]:
    fails = verdict.state == "Failed"
    yield Condition(READY, "False" if fails or verdict.state == "Pending" else "True", verdict.why, verdict.message)
    if fails:
        yield Condition(FAILED, "True", verdict.failure, verdict.message)
    else:
        yield Condition(FAILED, "False", "Well", "nothing is known to be wrong")


def _progressing(seen: Seen) -> Condition:
    there = deployed(seen.deployment)
    stuck = found(((seen.deployment or {}).get("status") or {}).get("conditions") or [], "Progressing")
    if settled(seen.deployment, seen.wanted):
        return Condition(PROGRESSING, "False", "Settled", "the workers are as wanted")
    if stuck.get("status") == "False":
        return Condition(PROGRESSING, "False", stuck["reason"], stuck.get("message") or "the rollout does not go on")
    figures = f"wanted: {seen.wanted}, there: {there.there}, updated: {there.updated}, ready: {there.ready}"
    return Condition(PROGRESSING, "True", "RollingOut", figures)


def _scaling(model: AIModel, seen: Seen) -> Condition:
    unread = "spec.replicas is without effect"
    if seen.scaler == "spec":
        return Condition(SCALING, "False", "ByHand", "spec.replicas says how many")
    if seen.scaler == "keda":
        return Condition(SCALING, "True", "KEDA", f"by ScaledObject {scaled_object_name(model.name)}; {unread}")
    if seen.backlog is None:
        return Condition(SCALING, "Unknown", "BacklogUnknown", f"without the backlog the number stays; {unread}")
    return Condition(SCALING, "True", "BuiltIn", f"{seen.why or 'by backlog'}; {unread}")
