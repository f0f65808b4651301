"""AIModels as Kubernetes calls them, and Events about one. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

GROUP = "model.youxam.com"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "AIModel"
PLURAL = "aimodels"


def event(
    name: str,
    namespace: str,
    *,
    type: Literal["Normal", "Warning"],
    reason: str,
    message: str,
    component: str,
    host: str,
    first: float,
    last: float,
    uid: str = "",
) -> dict[str, Any]:
    """A core/v1 Event about the AIModel `name`, of which `uid` may not be known. `component`, `host`: who tells.
    `first` and `last`: when what it tells of began, and when it is told; Unix times in seconds.

    https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/
    """
    about = {"apiVersion": API_VERSION, "kind": KIND, "name": name, "namespace": namespace}
    return {
        "metadata": {"generateName": f"{name}.", "namespace": namespace},
        "involvedObject": about | ({"uid": uid} if uid else {}),
        "type": type,
        "reason": reason,
        "message": message,
        "source": {"component": component, "host": host},
        "firstTimestamp": written_time(first),
        "lastTimestamp": written_time(last),
        "count": 1,
    }


def written_time(at: float) -> str:
    """RFC 3339, in UTC and whole seconds. `at`: Unix time in seconds."""
    return datetime.fromtimestamp(int(at), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
