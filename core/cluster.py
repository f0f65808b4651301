"""The Kubernetes cluster that a process belongs to.

The official client is slow to import and blocks: it is imported here, where it is used, and called in threads.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from core.errors import AgentOSError, ConfigurationError

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")

Result = TypeVar("Result")


class ClusterError(AgentOSError):
    """Kubernetes did not do what was asked. `again`: it may do it later. `status`: of HTTP, where it has answered;
    `body`: what it has answered.
    """

    def __init__(self, text: str, *, again: bool, status: int = 0, body: str = "") -> None:
        super().__init__(text)
        self.again = again
        self.status = status
        self.body = body


def need_cluster(environ: Mapping[str, str]) -> None:
    """Raises `ConfigurationError` where this process knows of no cluster."""
    if not cluster_at_hand(environ):
        raise ConfigurationError("there is no cluster: neither a service account in a Pod, nor KUBECONFIG")


def cluster_at_hand(environ: Mapping[str, str], account: Path = SERVICE_ACCOUNT) -> bool:
    """Whether this process runs in a Pod with a service account, or KUBECONFIG names a cluster."""
    in_pod = bool(environ.get("KUBERNETES_SERVICE_HOST")) and (account / "token").exists()
    return in_pod or bool(environ.get("KUBECONFIG"))


def ask(action: Callable[[Any], Result], account: Path = SERVICE_ACCOUNT) -> Result:
    """What `action` gives; it gets a `kubernetes.client.ApiClient`, and blocks. One try. Raises `ClusterError`."""
    from kubernetes import client
    from urllib3.exceptions import HTTPError

    try:
        with client.ApiClient(_configuration(account)) as connection:
            return action(connection)
    except client.ApiException as error:
        raise refused(error.status or 0, error.reason or "", error.body) from error
    except (HTTPError, OSError) as error:
        raise ClusterError(f"the API server does not answer: {type(error).__name__}", again=True) from error


def _configuration(account: Path) -> Any:
    from kubernetes import client, config
    from kubernetes.config.incluster_config import InClusterConfigLoader

    settings = client.Configuration()
    settings.retries = False  # who asks tries again, with pauses
    try:
        if file := os.environ.get("KUBECONFIG"):
            config.load_kube_config(file, client_configuration=settings)
        else:
            loader = InClusterConfigLoader(str(account / "token"), str(account / "ca.crt"))
            loader.load_and_set(settings)
    except (config.ConfigException, OSError) as error:
        raise ClusterError(f"the cluster is not known: {error}", again=False) from error
    return settings


def refused(status: int, reason: str, body: str | bytes | None) -> ClusterError:
    """What an answer of the API server that is no success means."""
    if not status:  # the client's way to tell of TLS that fails
        return ClusterError(f"the API server does not answer: {' '.join(reason.split())}", again=True)
    text = body.decode(errors="replace") if isinstance(body, bytes) else body or ""
    again = status in (408, 429) or status >= 500
    return ClusterError(f"status {status} {reason}", again=again, status=status, body=text)
