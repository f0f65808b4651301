"""What belongs to an AIModel: the objects that its operator applies. Pure."""

from __future__ import annotations

from typing import Any

from coordinator.operator.wanted.aimodel import AIModel
from coordinator.operator.wanted.credentials import secret
from coordinator.operator.wanted.keda import broker_login, scaled_object
from coordinator.operator.wanted.names import account_name, binding_name, metadata
from coordinator.operator.wanted.site import Site
from coordinator.operator.wanted.who import scaler_of
from coordinator.operator.wanted.workers import deployment

Object = dict[str, Any]

_RBAC = "rbac.authorization.k8s.io"
# Allows to create Events, nothing more; deploy/base/worker-events.yaml.
EVENTS_ROLE = "agentos-worker-events"


def children(model: AIModel, site: Site, replicas: int | None) -> list[Object]:
    """In the order of application, for server-side apply. `replicas`: None where KEDA drives them."""
    first = [secret(model, site), _account(model), _binding(model), deployment(model, site, replicas)]
    if scaler_of(model, site.keda) != "keda":
        return first
    login = [broker_login(model)] if site.pulsar_token.get_secret_value() else []
    return [*first, *login, scaled_object(model, site)]


def _account(model: AIModel) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": metadata(model, account_name(model.name)),
        "automountServiceAccountToken": False,  # whoever needs it says so
    }


def _binding(model: AIModel) -> Object:
    account = {"kind": "ServiceAccount", "name": account_name(model.name), "namespace": model.namespace}
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": metadata(model, binding_name(model.name)),
        "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": EVENTS_ROLE},
        "subjects": [account],
    }
