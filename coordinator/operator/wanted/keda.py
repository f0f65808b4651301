"""KEDA scales an AIModel by the backlog of its topic. Pure.

https://keda.sh/docs/2.17/scalers/pulsar/, https://keda.sh/docs/2.17/reference/scaledobject-spec/
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from bus.topics import model_subscription, model_topic
from coordinator.operator.wanted.aimodel import AIModel
from coordinator.operator.wanted.credentials import PULSAR_TOKEN
from coordinator.operator.wanted.names import (
    broker_login_name,
    credentials_name,
    deployment_name,
    metadata,
    scaled_object_name,
)
from coordinator.operator.wanted.site import Site
from coordinator.operator.wanted.who import scaling_of

GROUP = "keda.sh"
API_VERSION = f"{GROUP}/v1alpha1"


def scaled_object(model: AIModel, site: Site) -> dict[str, Any]:
    """Of an AIModel with a `backlog_threshold`: as many replicas as the built-in scaler would allow."""
    scaling = scaling_of(model)
    assert scaling is not None
    trigger: dict[str, Any] = {"type": "pulsar", "metadata": _trigger(model, site)}
    if site.pulsar_token.get_secret_value():
        trigger["metadata"]["authModes"] = "bearer"
        trigger["authenticationRef"] = {"name": broker_login_name(model.name)}
    return {
        "apiVersion": API_VERSION,
        "kind": "ScaledObject",
        "metadata": metadata(model, scaled_object_name(model.name)),
        "spec": {
            "scaleTargetRef": {"name": deployment_name(model.name)},
            "minReplicaCount": scaling.min,
            "maxReplicaCount": scaling.max,
            "triggers": [trigger],
        },
    }


def broker_login(model: AIModel) -> dict[str, Any]:
    """Where KEDA finds the broker's token."""
    token = {"parameter": "bearerToken", "name": credentials_name(model.name), "key": PULSAR_TOKEN}
    return {
        "apiVersion": API_VERSION,
        "kind": "TriggerAuthentication",
        "metadata": metadata(model, broker_login_name(model.name)),
        "spec": {"secretTargetRef": [token]},
    }


def _trigger(model: AIModel, site: Site) -> dict[str, str]:
    # KEDA puts the topic into an address as it is, so what is encoded in its name is encoded once more.
    topic = quote(model_topic(model.model), safe="")
    return {
        "adminURL": site.pulsar_admin_url.rstrip("/"),
        "topic": f"persistent://public/default/{topic}",
        "subscription": model_subscription(model.model),
        "msgBacklogThreshold": str(model.backlog_threshold),
        "activationMsgBacklogThreshold": "0",
        "isPartitionedTopic": "false",
    }
