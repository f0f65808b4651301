"""How far a Deployment is. Pure.

https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#deployment-status
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Deployed(NamedTuple):
    """A Deployment's figures. `replicas`: that it is to have; `there`: that there are, `updated` and `ready` of them.

    `seen`: whether its controller has seen its last change.
    """

    replicas: int = 0
    there: int = 0
    updated: int = 0
    ready: int = 0
    seen: bool = False


def deployed(deployment: Mapping[str, Any] | None) -> Deployed:
    """Zeros, where there is none."""
    if deployment is None:
        return Deployed()
    status = deployment.get("status") or {}
    replicas = deployment["spec"].get("replicas")
    return Deployed(
        replicas=1 if replicas is None else replicas,  # as the API server does
        there=status.get("replicas") or 0,
        updated=status.get("updatedReplicas") or 0,
        ready=status.get("readyReplicas") or 0,
        seen=(status.get("observedGeneration") or 0) >= (deployment["metadata"].get("generation") or 0),
    )


def settled(deployment: Mapping[str, Any] | None, replicas: int) -> bool:
    """Whether it has so many replicas, all ready and none of an older template."""
    if deployment is None:
        return False
    return deployed(deployment) == Deployed(replicas, replicas, replicas, replicas, seen=True)
