"""What is known of one AIModel, and what follows from it. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from coordinator.operator.state.failures import Failure, News, from_status, heard, over
from coordinator.operator.state.podtrouble import Trouble
from coordinator.operator.state.rollout import deployed, settled
from coordinator.operator.state.status import Seen, Status, status_of, wrong_status
from coordinator.operator.wanted.aimodel import AIModel, WrongAIModel, read
from coordinator.operator.wanted.names import MANAGER
from coordinator.operator.wanted.who import scaler_of, scaling_of

Object = dict[str, Any]

# Pods are looked at when they are not ready for so long, and again after twice as long each time.
PODS_SECONDS = 10.0
PODS_LONGEST = 60.0


@dataclass(slots=True)
class Record:
    """`model`: None where the AIModel is `wrong`. `wanted`, `why`: what the built-in scaler has said last. `applied`:
    digests of the children as they were applied, by kind. `generation`: of the Deployment, as we have left it.
    `with_keda`: whether there is, or may be, a ScaledObject. `pods_at`: when Pods are looked at, if they are not all
    ready then, by the clock of the queue.
    """

    body: Object
    model: AIModel | None
    wrong: str
    news: News
    deployment: Object | None = None
    wanted: int | None = None
    why: str = ""
    backlog: int | None = None
    trouble: Trouble | None = None
    refused: str = ""
    applied: dict[str, bytes] = field(default_factory=dict)
    generation: int = 0
    with_keda: bool = False
    pods_at: float | None = None
    pods_pause: float = PODS_SECONDS

    @property
    def uid(self) -> str:
        uid: str = self.body["metadata"]["uid"]
        return uid

    @property
    def leaving(self) -> bool:
        """It is being deleted: what belongs to it goes, and is not made again."""
        return "deletionTimestamp" in self.body["metadata"]

    @property
    def status(self) -> Mapping[str, Any]:
        """As it is now."""
        return self.body.get("status") or {}

    def hear(self, event: Object) -> bool:
        """Whether an Event tells something new."""
        before = self.news
        self.news = heard(before, event, self.body["metadata"]["generation"])
        return self.news.failure != before.failure

    def failure(self, now: float) -> Failure | None:
        """What workers have told and what still holds. `now`: Unix time in seconds."""
        failure = self.news.failure
        if failure is not None and self.model is not None and over(failure, self.model, self.deployment, now):
            self.news = self.news._replace(failure=None)
        return self.news.failure

    def fails(self, now: float) -> bool:
        """Whether its state is Failed. `now`: Unix time in seconds."""
        troubled = self.trouble is not None and self.trouble.fails
        return bool(self.refused) or troubled or self.failure(now) is not None

    def rolled_out(self, generation: int) -> None:
        """Its Deployment was applied, and has this generation: what was wrong with its Pods may be over."""
        if generation != self.generation:
            self.generation, self.trouble = generation, None
            self.pods_at, self.pods_pause = None, PODS_SECONDS

    def replicas(self, keda: bool) -> int | None:
        """How many replicas the Deployment is given; None: KEDA says how many."""
        assert self.model is not None
        scaler = scaler_of(self.model, keda)
        if scaler == "spec":
            return self.model.replicas
        scaling = scaling_of(self.model)
        assert scaling is not None
        if scaler == "keda":
            return scaling.min if self.deployment is None else None
        if self.wanted is None and self.deployment is None:
            return scaling.min
        wanted = deployed(self.deployment).replicas if self.wanted is None else self.wanted
        return min(max(wanted, scaling.min), scaling.max)

    def due(self, children: Iterable[Object]) -> list[Object]:
        """Those that are to be applied: they have changed, or somebody has changed or deleted the Deployment."""
        deployment = self.deployment
        touched = deployment is None or deployment["metadata"]["generation"] != self.generation
        return [
            child
            for child in children
            if self.applied.get(child["kind"]) != _digest(child) or (touched and child["kind"] == "Deployment")
        ]

    def note_applied(self, child: Object) -> None:
        """It was applied as it is here."""
        self.applied[child["kind"]] = _digest(child)

    def is_settled(self, keda: bool) -> bool:
        """Whether the Deployment is as wanted."""
        replicas = self.replicas(keda)
        return settled(self.deployment, deployed(self.deployment).replicas if replicas is None else replicas)

    def pods_due(self, keda: bool, now: float) -> bool:
        """Whether its Pods are to be looked at: they have not been ready for long."""
        if self.is_settled(keda):
            self.trouble, self.pods_at, self.pods_pause = None, None, PODS_SECONDS
            return False
        if self.pods_at is None:
            self.pods_at = now + self.pods_pause
        if now < self.pods_at:
            return False
        self.pods_pause = min(2 * self.pods_pause, PODS_LONGEST)
        self.pods_at = now + self.pods_pause
        return True

    def pods_in(self, now: float) -> float | None:
        """In how many seconds they are to be looked at; None: they are not."""
        return None if self.pods_at is None else max(0.0, self.pods_at - now)

    def status_now(self, keda: bool, now: float) -> Status:
        """What its status is to say. `now`: Unix time in seconds."""
        if self.model is None:
            return wrong_status(self.body, self.wrong, now)
        seen = Seen(
            scaler=scaler_of(self.model, keda),
            deployment=self.deployment,
            replicas=self.replicas(keda),
            why=self.why,
            backlog=self.backlog,
            failure=self.failure(now),
            trouble=self.trouble,
            refused=self.refused,
        )
        return status_of(self.model, seen, self.status, now)


def record_of(body: Object, before: Record | None) -> Record:
    """The record after `body` was seen; the same one, unless it is another AIModel of that name."""
    try:
        model, wrong = read(body), ""
    except WrongAIModel as error:
        model, wrong = None, str(error)
    if before is None or before.uid != body["metadata"]["uid"]:
        return Record(body, model, wrong, from_status(body), with_keda=True)
    before.body, before.model, before.wrong = body, model, wrong
    return before


def owns_replicas(deployment: Object | None) -> bool:
    """Whether the replicas of a Deployment would be reset if they were left out of what is applied."""
    entries = (deployment or {}).get("metadata", {}).get("managedFields") or []
    return any(
        entry.get("manager") == MANAGER
        and entry.get("operation") == "Apply"
        and "f:replicas" in ((entry.get("fieldsV1") or {}).get("f:spec") or {})
        for entry in entries
    )


def handed_over(deployment: Object) -> Object:
    """What another manager applies, so that the number stays when we give it up.

    https://kubernetes.io/docs/reference/using-api/server-side-apply/#transferring-ownership
    """
    meta = {name: deployment["metadata"][name] for name in ("name", "namespace")}
    spec = {"replicas": deployed(deployment).replicas}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec}


def _digest(child: Object) -> bytes:
    """Never leaves this process."""
    return hashlib.sha256(msgspec.json.encode(child, order="deterministic")).digest()
