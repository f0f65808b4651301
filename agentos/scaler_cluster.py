"""Sets `spec.replicas` of AIModels and Deployments: a merge patch (RFC 7386), with the right for that and no more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agentos.replicas import described
from core.aimodels import GROUP, PLURAL, VERSION
from core.cluster import SERVICE_ACCOUNT, ClusterError, ask
from policy.slo.pipeline import Replicas

CALL_SECONDS = 5.0
MERGE_PATCH = "application/merge-patch+json"
# Where each kind is, and the subresource that is enough to scale it.
_KINDS: dict[str, dict[str, str]] = {
    "AIModel": {"group": GROUP, "version": VERSION, "plural": PLURAL},
    "Deployment": {"group": "apps", "version": "v1", "plural": "deployments"},
}


def set_replicas(replicas: Replicas, count: int, *, account: Path = SERVICE_ACCOUNT) -> None:
    """One try; blocks. Raises `ClusterError` that says what is missing by name."""
    try:
        ask(lambda connection: _patch(connection, replicas, count), account)
    except ClusterError as error:
        raise ClusterError(_why(error, replicas), again=error.again, status=error.status) from error


def _patch(connection: Any, replicas: Replicas, count: int) -> None:
    from kubernetes import client

    objects = client.CustomObjectsApi(connection)
    # An AIModel may have no scale subresource; a Deployment has one, and a right of its own for it.
    patch = (
        objects.patch_namespaced_custom_object_scale
        if replicas.kind == "Deployment"
        else objects.patch_namespaced_custom_object
    )
    patch(
        **_KINDS[replicas.kind],
        namespace=replicas.namespace,
        name=replicas.name,
        body={"spec": {"replicas": count}},
        _content_type=MERGE_PATCH,
        _request_timeout=CALL_SECONDS,
    )


def _why(error: ClusterError, replicas: Replicas) -> str:
    if error.status == 403:
        resource = "deployments/scale" if replicas.kind == "Deployment" else "aimodels"
        return f"the right to patch {resource} in {replicas.namespace} is missing (docs/planner.md)"
    if error.status != 404:
        return str(error)
    if '"kind":"Status"' not in error.body.replace(" ", ""):
        return f"the cluster knows no {replicas.kind}: its definition is missing"
    return f"there is no {described(replicas)}"
