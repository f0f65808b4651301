"""Makes one AIModel so: what belongs to it is applied, and its status says how it is."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from typing import Any

from coordinator.operator.cluster import metrics
from coordinator.operator.cluster.announcing import Announcements
from coordinator.operator.cluster.kinds import AIMODELS, BROKER_LOGINS, PODS, SCALED_OBJECTS
from coordinator.operator.cluster.kube import Kube
from coordinator.operator.reconcile.known import Known
from coordinator.operator.reconcile.record import Record, handed_over, owns_replicas
from coordinator.operator.state.podtrouble import trouble_of
from coordinator.operator.state.rollout import deployed
from coordinator.operator.state.status import patch_of
from coordinator.operator.state.texts import one_line
from coordinator.operator.wanted.aimodel import AIModel, Key
from coordinator.operator.wanted.children import children
from coordinator.operator.wanted.names import broker_login_name, scaled_object_name, selector
from coordinator.operator.wanted.who import scaler_of
from core.cluster import ClusterError
from core.loopwatch import now

log = logging.getLogger(__name__)

Object = dict[str, Any]

# While workers are told to fail it is looked whether that is over.
FAILED_SECONDS = 5.0
HANDOVER = "agentos-operator-handover"


class Reconciler:
    """Of the AIModels that are `known`."""

    def __init__(self, kube: Kube, known: Known, announcements: Announcements) -> None:
        self._kube = kube
        self._known = known
        self._announcements = announcements

    async def reconcile(self, key: Key) -> float | None:
        """Raises `ClusterError` where it is to be tried again. Gives back in how many seconds it is to be looked at
        again though nothing may have been heard; None: no sooner.
        """
        record = self._known.find(key)
        if record is None or record.leaving:
            return None
        refused = None
        if record.model is not None:
            refused = await self._make(key, record, record.model)
            await self._look_at_pods(record, record.model)
        await self._tell(key, record)
        if refused is not None:
            raise refused
        return self._again(record)

    async def _make(self, key: Key, record: Record, model: AIModel) -> ClusterError | None:
        """Applies what is due. What the API server does not take is said in the status, and given back."""
        try:
            await self._apply(key, record, model)
        except ClusterError as error:
            if _passes(error):
                raise
            record.refused = str(error)
            return error
        record.refused = ""
        return None

    async def _apply(self, key: Key, record: Record, model: AIModel) -> None:
        keda = self._known.site.keda
        replicas = record.replicas(keda)
        if scaler_of(model, keda) == "keda":
            record.with_keda = True
        elif keda:
            await self._without_keda(record, model)
        if replicas is None and record.deployment is not None and owns_replicas(record.deployment):
            await self._kube.apply(handed_over(record.deployment), HANDOVER)
        for child in record.due(children(model, self._known.site, replicas)):
            before = record.deployment  # a watch may be faster than the answer
            applied = await self._apply_one(child)
            record.note_applied(child)
            if child["kind"] == "Deployment":
                self._applied_deployment(key, record, before, applied)

    async def _apply_one(self, child: Object) -> Object:
        try:
            applied = await self._kube.apply(child)
        except ClusterError as error:
            raise _named(error, child) from error
        metrics.APPLIED.labels(child["kind"]).inc()
        return applied

    def _applied_deployment(self, key: Key, record: Record, before: Object | None, applied: Object) -> None:
        after = deployed(applied).replicas
        record.rolled_out(applied["metadata"]["generation"])
        self._known.wrote_deployment(applied)
        if before is None:
            self._say(key, record, "Created", f"Deployment {applied['metadata']['name']}, replicas: {after}")
        elif deployed(before).replicas != after:
            why = f" ({record.why})" if record.why else ""
            self._say(key, record, "Scaled", f"replicas: {deployed(before).replicas} → {after}{why}")

    async def _without_keda(self, record: Record, model: AIModel) -> None:
        if record.with_keda:
            namespace, name = model.key
            await self._kube.delete(SCALED_OBJECTS, namespace, scaled_object_name(name))
            await self._kube.delete(BROKER_LOGINS, namespace, broker_login_name(name))
            record.with_keda = False

    async def _look_at_pods(self, record: Record, model: AIModel) -> None:
        """Why they are not ready, where that lasts."""
        if not record.pods_due(self._known.site.keda, now()):
            return
        namespace, name = model.key
        pods = await self._kube.list(PODS, namespace, labels=selector(name))
        record.trouble = trouble_of(record.deployment, pods.items, time.time())

    async def _tell(self, key: Key, record: Record) -> None:
        """Writes the status, if it says anything new."""
        before = record.status
        status = record.status_now(self._known.site.keda, time.time())
        patch = patch_of(before, status)
        if patch is None:
            return
        try:
            self._known.wrote_model(await self._kube.patch(AIMODELS, *key, patch, "status"))
        except ClusterError as error:
            if error.status == 404:
                return  # it is deleted: the watch tells
            raise
        self._say_change(key, record, before, status)

    def _say_change(self, key: Key, record: Record, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
        failed, fails = before.get("state") == "Failed", after["state"] == "Failed"
        if fails and not (failed and _reason(before) == _reason(after)):
            self._say(key, record, "Failed", after["message"])
        elif failed and not fails:
            self._say(key, record, "Recovered", after["message"])

    def _say(self, key: Key, record: Record, reason: Any, message: str) -> None:
        log.info("AIModel %s/%s: %s: %s", *key, reason, message)
        self._announcements.tell(key, record.uid, reason, message)

    def _again(self, record: Record) -> float | None:
        failed = FAILED_SECONDS if record.news.failure is not None else None
        pods = record.pods_in(now())
        return min((each for each in (failed, pods) if each is not None), default=None)


def _reason(status: Mapping[str, Any]) -> str:
    """Why it has failed: what follows may change from Pod to Pod."""
    reason, _, _ = str(status.get("message", "")).partition(":")
    return reason


def _passes(error: ClusterError) -> bool:
    """Whether the same may be taken another time, without anybody's doing."""
    return error.again or error.status in (0, 401, 409)


def _named(error: ClusterError, child: Object) -> ClusterError:
    """What was refused, and why."""
    try:
        said = json.loads(error.body)["message"] if child["kind"] != "Secret" else ""
    except (ValueError, TypeError, KeyError):
        said = ""
    text = one_line(f"{child['kind']} {child['metadata']['name']}: {error}{': ' if said else ''}{said}")
    return ClusterError(text, again=error.again, status=error.status, body=error.body)
