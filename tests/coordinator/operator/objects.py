"""Objects of Kubernetes for tests, as the API server tells them."""

from __future__ import annotations

from typing import Any

from pydantic import SecretStr

from coordinator.operator.wanted.aimodel import AIModel, read
from coordinator.operator.wanted.site import Site

Object = dict[str, Any]

REMOTE: Object = {"type": "remote", "model": "gpt-4o", "baseURL": "https://api.openai.com/v1"}
EVERYTHING: Object = REMOTE | {
    "image": "registry.example.com/agentos:2",
    "apiKey": "sk-not-a-key",
    "maxProcessNum": 32,
    "callTimeoutSeconds": 120,
    "resources": {"requests": {"cpu": 1, "memory": "1.5Gi"}, "limits": {"nvidia.com/gpu": "1"}},
    "env": [
        {"name": "AGENTOS_REQUESTS_PER_MINUTE", "value": "500"},
        {"name": "FROM_SECRET", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k", "optional": True}}},
        {"name": "FROM_MAP", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "k"}}},
    ],
    "nodeSelector": {"gpu": "yes"},
    "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}],
    "imagePullSecrets": [{"name": "registry"}],
}
SITE = Site(
    worker_image="registry.example.com/agentos:1",
    pulsar_url="pulsar://pulsar:6650",
    pulsar_admin_url="http://pulsar:8080/",
    pulsar_token=SecretStr("token-of-the-broker"),
    res_topic_name="res-topic",
)


def body(generation: int = 1, name: str = "gpt", namespace: str = "team-a", **spec: Any) -> Object:
    """An AIModel; `REMOTE`, where nothing else is said of its spec."""
    metadata = {"name": name, "namespace": namespace, "uid": f"uid-of-{name}", "generation": generation}
    return {"metadata": {**metadata, "creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": REMOTE | spec}


def model(generation: int = 1, name: str = "gpt", namespace: str = "team-a", **spec: Any) -> AIModel:
    """The same, read."""
    return read(body(generation, name, namespace, **spec))


def deployed(wanted: int, there: int | None = None, ready: int | None = None, updated: int | None = None) -> Object:
    """A Deployment; what is not said is as wanted."""
    figures = {"replicas": there, "readyReplicas": ready, "updatedReplicas": updated}
    counts = {name: wanted if count is None else count for name, count in figures.items()}
    status = {name: count for name, count in counts.items() if count}  # zeros are left out
    return {
        "metadata": {"name": "gpt-deployment", "namespace": "team-a", "generation": 1},
        "spec": {"replicas": wanted},
        "status": {**status, "observedGeneration": 1},
    }


def event(reason: str, at: int = 0, version: int = 1, **fields: Any) -> Object:
    """A worker's Event, `at` seconds after noon."""
    involved = {"kind": "AIModel", "name": "gpt", "namespace": "team-a", "apiVersion": "model.youxam.com/v1alpha1"}
    return {
        "metadata": {"name": f"gpt.{version}", "namespace": "team-a", "resourceVersion": str(version)},
        "involvedObject": involved,
        "type": "Normal" if reason == "Recovered" else "Warning",
        "reason": reason,
        "message": f"{reason} is told",
        "source": {"component": "agentos-worker", "host": "gpt-deployment-1"},
        "lastTimestamp": clock(at),
    } | fields


def clock(seconds: float) -> str:
    """RFC 3339, so many seconds after noon."""
    minutes, rest = divmod(int(seconds), 60)
    return f"2026-01-01T12:{minutes:02}:{rest:02}Z"


NOON = 1_767_268_800.0
