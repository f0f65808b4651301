"""All that is known of the cluster's AIModels, whoever tells: watches, lists, answers to our own writes. Pure."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator
from typing import Any

import msgspec

from coordinator.operator.cluster.kinds import AIMODELS, DEPLOYMENTS, EVENTS, Kind
from coordinator.operator.reconcile import mistakes
from coordinator.operator.reconcile.objects import Objects
from coordinator.operator.reconcile.record import Record, record_of
from coordinator.operator.state.failures import about
from coordinator.operator.wanted.aimodel import Key, named
from coordinator.operator.wanted.names import parent_of
from coordinator.operator.wanted.site import Site

log = logging.getLogger(__name__)

Object = dict[str, Any]


class Known:
    """`look`: an AIModel is to be looked at, in so many seconds; `forget`: it is gone."""

    def __init__(self, site: Site, look: Callable[[Key, float], None], forget: Callable[[Key], None]) -> None:
        self.site = site
        self._objects = {AIMODELS: Objects(), DEPLOYMENTS: Objects()}
        self._look = look
        self._forget = forget
        self._records: dict[Key, Record] = {}
        # By their AIModel, which may not be known yet.
        self._deployments: dict[Key, Object] = {}

    def __iter__(self) -> Iterator[tuple[Key, Record]]:
        return iter(self._records.items())

    def find(self, key: Key) -> Record | None:
        """None where there is no such AIModel."""
        return self._records.get(key)

    def streamed(self, kind: Kind, body: Object, deleted: bool) -> None:
        """A watch has brought it."""
        if kind in self._objects:
            self._objects[kind].streamed(body, deleted)
        self._take(kind, body, deleted)

    def listed(self, kind: Kind, items: Collection[Object], at: str, namespace: str, now: float) -> None:
        """All of a kind that there were at the version `at`, in a namespace or, if it is empty, everywhere."""
        gone = self._objects[kind].listed(items, at, namespace, now) if kind in self._objects else []
        for body in items:
            self._take(kind, body, deleted=False)
        for body in gone:
            self._take(kind, body, deleted=True)

    def missed(self, before: float) -> dict[Kind, int]:
        """How many changes that a list has shown before that time no watch has brought since. Told once."""
        return {kind: count for kind, objects in self._objects.items() if (count := objects.missed(before))}

    def saw_model(self, body: Object) -> None:
        """An AIModel is so."""
        if self._objects[AIMODELS].saw(body):
            self._look(self._note_model(body), 0.0)

    def wrote_model(self, body: Object) -> None:
        """We have made an AIModel so: that is no reason to look at it."""
        if self._objects[AIMODELS].saw(body):
            self._note_model(body)

    def lost_model(self, body: Object) -> None:
        """An AIModel is deleted."""
        key = named(body)
        record = self._records.get(key)
        if self._objects[AIMODELS].lost(body) and record is not None and record.uid == body["metadata"]["uid"]:
            del self._records[key]
            self._forget(key)

    def saw_deployment(self, body: Object) -> None:
        """A Deployment of ours is so."""
        if self._objects[DEPLOYMENTS].saw(body) and (key := self._note_deployment(body)) is not None:
            self._look(key, 0.0)

    def wrote_deployment(self, body: Object) -> None:
        """We have made a Deployment so."""
        if self._objects[DEPLOYMENTS].saw(body):
            self._note_deployment(body)

    def lost_deployment(self, body: Object) -> None:
        """A Deployment of ours is deleted, or its label is."""
        key = parent_of(body)
        known = self._deployments.get(key) if key is not None else None
        if not self._objects[DEPLOYMENTS].lost(body) or key is None or known is None:
            return
        if known["metadata"]["uid"] != body["metadata"]["uid"]:
            return
        del self._deployments[key]
        if (record := self._records.get(key)) is not None:
            record.deployment = None
            self._look(key, 0.0)

    def saw_event(self, body: Object) -> None:
        """Somebody tells something about an AIModel."""
        key = about(body)
        record = self._records.get(key) if key is not None else None
        if key is not None and record is not None and record.hear(body):
            self._look(key, 0.0)

    def set_keda(self, keda: bool) -> None:
        """Whether the cluster has KEDA now."""
        usable = keda and bool(self.site.pulsar_admin_url)  # where KEDA would look
        if usable != self.site.keda:
            self.site = msgspec.structs.replace(self.site, keda=usable)
            for key, record in self:
                record.with_keda = True
                self._look(key, 0.0)

    def apply_again(self, spread: Callable[[], float]) -> None:
        """Everything is to be applied again, whatever was applied before; each after `spread()` seconds."""
        for key, record in self:
            record.applied = {}
            self._look(key, spread())

    def _take(self, kind: Kind, body: Object, deleted: bool) -> None:
        takers = {
            (AIMODELS, False): self.saw_model,
            (AIMODELS, True): self.lost_model,
            (DEPLOYMENTS, False): self.saw_deployment,
            (DEPLOYMENTS, True): self.lost_deployment,
            (EVENTS, False): self.saw_event,
        }
        try:
            if (taker := takers.get((kind, deleted))) is not None:
                taker(body)
        except Exception as error:  # noqa: BLE001 - the others are taken
            log.error("%s %s: %s", kind.plural, body["metadata"].get("name"), mistakes.told(error))  # noqa: TRY400

    def _note_model(self, body: Object) -> Key:
        key = named(body)
        record = self._records[key] = record_of(body, self._records.get(key))
        record.deployment = self._deployments.get(key)
        return key

    def _note_deployment(self, body: Object) -> Key | None:
        key = parent_of(body)
        if key is not None:
            self._deployments[key] = body
            if (record := self._records.get(key)) is not None:
                record.deployment = body
        return key
