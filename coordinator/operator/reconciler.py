"""What is known of AIModels, and what is done about it. (The interface; the rest is being made.)"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from coordinator.operator.aimodel import Key
from coordinator.operator.fleet import Scaled
from coordinator.operator.kube import Kube
from coordinator.operator.site import Site

Object = dict[str, Any]


class Reconciler:
    """The AIModels of a cluster; a `Fleet`."""

    def __init__(self, kube: Kube, site: Site) -> None:
        self._kube = kube
        self._site = site

    def saw_model(self, body: Object) -> None:
        """An AIModel is there, so."""

    def lost_model(self, body: Object) -> None:
        """An AIModel is deleted."""

    def saw_deployment(self, body: Object) -> None:
        """A Deployment of ours is there, so."""

    def lost_deployment(self, body: Object) -> None:
        """A Deployment of ours is deleted."""

    def saw_event(self, body: Object) -> None:
        """Somebody tells something about an AIModel."""

    async def reconcile(self, key: Key) -> None:
        """Makes it so. Raises `ClusterError` where it is to be tried again."""

    def models(self) -> Sequence[Scaled]:
        """Those that the built-in scaler drives."""
        return []

    def want(self, key: Key, replicas: int, why: str) -> None:
        """So many from now on."""

    def told_backlog(self, key: Key, count: int | None) -> None:
        """So many requests wait; None: that is not known."""

    async def costs(self, key: Key, held: Mapping[str, int]) -> None:
        """What Pods hold, by their names. Raises `ClusterError`."""
