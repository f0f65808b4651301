"""The AIModels as the built-in scaler sees them, and what it does to those that it drives."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from coordinator.operator.cluster.kinds import PODS
from coordinator.operator.cluster.kube import Kube
from coordinator.operator.reconcile.known import Known
from coordinator.operator.reconcile.record import Record
from coordinator.operator.scaling.fleet import Scaled
from coordinator.operator.state.rollout import deployed
from coordinator.operator.wanted.aimodel import Key
from coordinator.operator.wanted.names import selector
from coordinator.operator.wanted.who import scaler_of, scaling_of

# https://kubernetes.io/docs/concepts/workloads/controllers/replicaset/#pod-deletion-cost
COST = "controller.kubernetes.io/pod-deletion-cost"


class Driven:
    """A `Fleet`. `look`: an AIModel is to be looked at, in so many seconds."""

    def __init__(self, kube: Kube, known: Known, look: Callable[[Key, float], None]) -> None:
        self._kube = kube
        self._known = known
        self._look = look

    def models(self) -> Sequence[Scaled]:
        """Those that can be worked with."""
        return [scaled for key, record in self._known if (scaled := self._scaled(key, record)) is not None]

    def want(self, key: Key, replicas: int, why: str) -> None:
        """So many from now on."""
        record = self._known.find(key)
        if record is not None and (record.wanted, record.why) != (replicas, why):
            record.wanted, record.why = replicas, why
            self._look(key, 0.0)

    def told_backlog(self, key: Key, count: int | None) -> None:
        """So many requests wait; None: that is not known."""
        record = self._known.find(key)
        if record is not None and record.backlog != count:
            record.backlog = count
            self._look(key, 0.0)

    async def costs(self, key: Key, held: Mapping[str, int]) -> None:
        """Written where they have changed. Raises `ClusterError`."""
        namespace, name = key
        pods = await self._kube.list(PODS, namespace, labels=selector(name))
        changed = {
            pod["metadata"]["name"]: cost
            for pod in pods.items
            if (cost := str(held.get(pod["metadata"]["name"], 0))) != _cost(pod)
        }
        await asyncio.gather(
            *(
                self._kube.patch(PODS, namespace, pod, {"metadata": {"annotations": {COST: cost}}})
                for pod, cost in changed.items()
            )
        )

    def _scaled(self, key: Key, record: Record) -> Scaled | None:
        model, keda = record.model, self._known.site.keda
        if model is None or record.leaving:
            return None
        replicas, there = record.replicas(keda), deployed(record.deployment)
        return Scaled(
            key=key,
            model=model.model,
            node_type=model.type,
            scaling=scaling_of(model) if scaler_of(model, keda) == "backlog" else None,
            slots=model.slots,
            replicas=there.replicas if replicas is None else replicas,
            ready=there.ready,
            failed=record.fails(time.time()),
        )


def _cost(pod: Mapping[str, Any]) -> str:
    cost: str = (pod["metadata"].get("annotations") or {}).get(COST, "0")
    return cost
