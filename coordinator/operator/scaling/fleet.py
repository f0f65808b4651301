"""What the scaler sees of AIModels, and what it may do to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from bus.messages import NodeType
from coordinator.operator.wanted.aimodel import Key
from policy.scaling import Scaling


class Scaled(msgspec.Struct, frozen=True, kw_only=True):
    """An AIModel. `model`: what its workers, of `node_type`, serve. `scaling`: None where the built-in scaler does
    not drive it. `slots`: requests that one of its workers has at once. `replicas`: wanted now; `ready`: of its
    Deployment. `failed`: gets no more than it has.
    """

    key: Key
    model: str
    node_type: NodeType
    scaling: Scaling | None
    slots: int
    replicas: int
    ready: int
    failed: bool = False


class Fleet(Protocol):
    """The AIModels of the cluster."""

    def models(self) -> Sequence[Scaled]:
        """All of them, as they are known now."""

    def want(self, key: Key, replicas: int, why: str) -> None:
        """So many from now on. `why`: for a person."""

    def told_backlog(self, key: Key, count: int | None) -> None:
        """So many requests wait; None: that is not known."""

    async def costs(self, key: Key, held: Mapping[str, int]) -> None:
        """What Pods hold, by their names: those with the most are to be the last to go. Raises `ClusterError`."""
