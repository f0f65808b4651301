"""Kubernetes hears what only a person can mend: core/v1 Events about the worker's AIModel.

The official client is slow to import and blocks: it is imported and used in a thread, and only where there is a
cluster. The worker needs the right to create Events, nothing more.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from bus.messages import Reason
from core.errors import AgentOSError

log = logging.getLogger(__name__)

API_VERSION = "model.youxam.com/v1alpha1"
KIND = "AIModel"
COMPONENT = "agentos-worker"
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
LONGEST_MESSAGE = 1000
CALL_SECONDS = 5.0
TRIES = 4
FIRST_PAUSE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Notice:
    """What an Event tells. `first` and `last`: when its state began and when it was told, Unix times in seconds."""

    type: Literal["Warning", "Normal"]
    reason: Reason | Literal["Recovered"]
    message: str
    first: float
    last: float


class NotReported(AgentOSError):
    """Kubernetes did not take an Event. `again`: it may take it later."""

    def __init__(self, text: str, *, again: bool) -> None:
        super().__init__(text)
        self.again = again


def cluster_at_hand(environ: Mapping[str, str], account: Path = SERVICE_ACCOUNT) -> bool:
    """Whether this process runs in a Pod with a service account, or KUBECONFIG names a cluster."""
    in_pod = bool(environ.get("KUBERNETES_SERVICE_HOST")) and (account / "token").exists()
    return in_pod or bool(environ.get("KUBECONFIG"))


class KubernetesEvents:
    """Events about one AIModel."""

    def __init__(self, name: str, namespace: str, *, account: Path = SERVICE_ACCOUNT) -> None:
        self._name = name
        self._namespace = namespace or "default"
        self._account = account
        self._host = socket.gethostname()

    async def report(self, notice: Notice) -> None:
        """Makes one Event. A cluster that does not answer is asked a few times, then the log alone tells of it."""
        for number in range(1, TRIES + 1):
            try:
                await asyncio.to_thread(self._create, notice)
            except NotReported as error:
                log.warning("AIModel %s/%s: no Event %s: %s", self._namespace, self._name, notice.reason, error)
                if not error.again or number == TRIES:
                    return
                await asyncio.sleep(random.uniform(0.5, 1.0) * FIRST_PAUSE_SECONDS * 2 ** (number - 1))
            else:
                return

    def _create(self, notice: Notice) -> None:
        """One try, in the thread. Raises `NotReported`."""
        from kubernetes import client, config
        from kubernetes.config.incluster_config import InClusterConfigLoader
        from urllib3.exceptions import HTTPError

        settings = client.Configuration()
        settings.retries = False  # `report` tries again, with pauses
        try:
            if file := os.environ.get("KUBECONFIG"):
                config.load_kube_config(file, client_configuration=settings)
            else:
                loader = InClusterConfigLoader(str(self._account / "token"), str(self._account / "ca.crt"))
                loader.load_and_set(settings)
        except (config.ConfigException, OSError) as error:
            raise NotReported(f"the cluster is not known: {error}", again=False) from error
        try:
            with client.ApiClient(settings) as connection:
                events = client.CoreV1Api(connection)
                events.create_namespaced_event(self._namespace, self._body(notice), _request_timeout=CALL_SECONDS)
        except client.ApiException as error:
            raise _refused(error.status or 0, error.reason, self._namespace) from error
        except (HTTPError, OSError) as error:
            raise NotReported(f"the API server does not answer: {type(error).__name__}", again=True) from error

    def _body(self, notice: Notice) -> dict[str, Any]:
        """The Event. https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/"""
        return {
            "metadata": {"generateName": f"{self._name}.", "namespace": self._namespace},
            "involvedObject": {
                "apiVersion": API_VERSION,
                "kind": KIND,
                "name": self._name,
                "namespace": self._namespace,
            },
            "type": notice.type,
            "reason": notice.reason,
            "message": notice.message[:LONGEST_MESSAGE],
            "source": {"component": COMPONENT, "host": self._host},
            "firstTimestamp": _time(notice.first),
            "lastTimestamp": _time(notice.last),
            "count": 1,
        }


def _refused(status: int, reason: str | None, namespace: str) -> NotReported:
    if status in (401, 403):
        text = f"status {status}: the service account may not create Events in {namespace} (see docs/management.md)"
        return NotReported(text, again=False)
    if not status:  # the client's way to tell of TLS that fails
        return NotReported(f"the API server does not answer: {' '.join((reason or '').split())}", again=True)
    return NotReported(f"status {status} {reason}", again=status in (408, 429) or status >= 500)


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
