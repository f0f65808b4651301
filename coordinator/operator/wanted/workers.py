"""The Deployment of an AIModel's workers. Pure.

Its Pods follow the level "restricted" of https://kubernetes.io/docs/concepts/security/pod-security-standards/.
"""

from __future__ import annotations

from typing import Any

from coordinator.operator.wanted.aimodel import AIModel
from coordinator.operator.wanted.credentials import CHECKSUM, checksum
from coordinator.operator.wanted.environment import PROBES_PORT, STATE_DIRECTORY, environment
from coordinator.operator.wanted.names import account_name, deployment_name, labels, metadata, selecting
from coordinator.operator.wanted.site import Site

Object = dict[str, Any]

# Of the image.
USER = 10001
# What a worker has to end in good order, its calls aside.
LEAVING_SECONDS = 30
_STATE = "state"


def deployment(model: AIModel, site: Site, replicas: int | None) -> Object:
    """`replicas`: None where another than the operator sets them."""
    template = {
        "metadata": {"labels": labels(model.name), "annotations": {CHECKSUM: checksum(model, site)}},
        "spec": _pod(model, site),
    }
    spec = {
        **({} if replicas is None else {"replicas": replicas}),
        "selector": {"matchLabels": selecting(model.name)},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": "25%"}},
        "template": template,
    }
    meta = metadata(model, deployment_name(model.name))
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec}


def _pod(model: AIModel, site: Site) -> Object:
    spec = {
        "serviceAccountName": account_name(model.name),
        "automountServiceAccountToken": True,  # for Events, nothing else
        # Services of the namespace would add variables, and unknown ones of AgentOS are refused.
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": model.call_timeout_seconds + LEAVING_SECONDS,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(model, site)],
        "volumes": [{"name": _STATE, "emptyDir": {}}],
    }
    given = {
        "nodeSelector": model.node_selector,
        "tolerations": model.tolerations,
        "imagePullSecrets": model.image_pull_secrets,
    }
    return spec | {name: value for name, value in given.items() if value}


def _container(model: AIModel, site: Site) -> Object:
    return {
        "name": "worker",
        "image": model.image or site.worker_image,
        "env": environment(model, site),
        "ports": [{"name": "probes", "containerPort": PROBES_PORT, "protocol": "TCP"}],
        # It answers from its beginning, while it loads a model too.
        "startupProbe": _probe("/health", every=2, failures=60),
        "readinessProbe": _probe("/ready", every=5, failures=2),
        "livenessProbe": _probe("/health", every=10, failures=3),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": _STATE, "mountPath": STATE_DIRECTORY}],
        **({"resources": model.resources} if model.resources else {}),
    }


def _probe(path: str, *, every: int, failures: int) -> Object:
    asked = {"path": path, "port": "probes"}
    return {"httpGet": asked, "periodSeconds": every, "timeoutSeconds": 5, "failureThreshold": failures}
