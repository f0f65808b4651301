"""How what belongs to an AIModel is called. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from coordinator.operator.wanted.aimodel import AIModel, Key
from core.aimodels import API_VERSION, GROUP, KIND

MANAGER = "agentos-operator"
AIMODEL_LABEL = f"{GROUP}/aimodel"
# Selects everything that the operator has made.
MANAGED = f"app.kubernetes.io/managed-by={MANAGER}"


def deployment_name(name: str) -> str:
    """Of the AIModel `name`."""
    return f"{name}-deployment"


def credentials_name(name: str) -> str:
    """The Secret."""
    return f"{name}-credentials"


def account_name(name: str) -> str:
    """The workers' service account."""
    return f"{name}-worker"


def binding_name(name: str) -> str:
    """What gives that account its one right."""
    return f"{name}-worker-events"


def scaled_object_name(name: str) -> str:
    """KEDA's ScaledObject."""
    return f"{name}-scaledobject"


def broker_login_name(name: str) -> str:
    """KEDA's TriggerAuthentication."""
    return f"{name}-broker"


def selecting(name: str) -> dict[str, str]:
    """The label that selects what belongs to the AIModel `name`. A Deployment's selector cannot be changed later."""
    return {AIMODEL_LABEL: name}


def selector(name: str) -> str:
    """The same, as queries have it."""
    return f"{AIMODEL_LABEL}={name}"


def labels(name: str) -> dict[str, str]:
    """Of everything that belongs to the AIModel `name`.

    https://kubernetes.io/docs/concepts/overview/working-with-objects/common-labels/
    """
    return {
        "app.kubernetes.io/name": "agentos-worker",
        "app.kubernetes.io/instance": name,
        "app.kubernetes.io/managed-by": MANAGER,
        **selecting(name),
    }


def metadata(model: AIModel, name: str) -> dict[str, Any]:
    """Of a child: it goes when the AIModel goes."""
    owner = {"apiVersion": API_VERSION, "kind": KIND, "name": model.name, "uid": model.uid}
    return {
        "name": name,
        "namespace": model.namespace,
        "labels": labels(model.name),
        "ownerReferences": [{**owner, "controller": True, "blockOwnerDeletion": True}],
    }


def parent_of(body: Mapping[str, Any]) -> Key | None:
    """Which AIModel an object belongs to, by its label; None: to none."""
    meta = body["metadata"]
    name = (meta.get("labels") or {}).get(AIMODEL_LABEL)
    return (meta["namespace"], name) if name else None
