"""The API server, asked with plain JSON: one try each, in bounded time.

The official client finds the cluster, its certificates and its tokens, which are read anew when they change; its
typed objects are not used: what is not known here must not be lost on the way.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio import client, config
from kubernetes.aio.config.incluster_config import InClusterConfigLoader

from coordinator.operator.cluster import metrics
from coordinator.operator.cluster.health import Contact
from coordinator.operator.cluster.kinds import APPLIED, Kind
from coordinator.operator.wanted.names import MANAGER
from core.cluster import SERVICE_ACCOUNT, ClusterError, refused

Object = dict[str, Any]

CALL_SECONDS = 10.0
# A page of a large list, as long as something of it comes all the time.
LIST_SECONDS = 60.0
PAGE = 500
CONNECTIONS = 32
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"


class Listed(NamedTuple):
    """All objects of a kind, and the version of the whole."""

    items: list[Object]
    version: str


async def found(account: Path = SERVICE_ACCOUNT) -> Any:
    """The settings of the official client for this process's cluster: KUBECONFIG, else the Pod's service account.

    Raises `ClusterError`.
    """
    settings = client.Configuration()
    settings.retries = None  # who asks tries again, with pauses
    settings.connection_pool_maxsize = CONNECTIONS
    try:
        if file := os.environ.get("KUBECONFIG"):
            await config.load_kube_config(file, client_configuration=settings, persist_config=False)
        else:
            InClusterConfigLoader(str(account / "token"), str(account / "ca.crt")).load_and_set(settings)
    except (config.ConfigException, OSError) as error:
        raise ClusterError(f"the cluster is not known: {error}", again=False) from error
    return settings


def _anyone() -> None:
    pass


class Kube:
    """The API server. `may_write`: raises a `ClusterError` where this process must not write now."""

    def __init__(
        self, connection: Any, contact: Contact, account: Path, may_write: Callable[[], None] = _anyone
    ) -> None:
        self._connection = connection
        self._contact = contact
        self._account = account
        self._may_write = may_write

    @classmethod
    @contextlib.asynccontextmanager
    async def connect(cls, contact: Contact, account: Path = SERVICE_ACCOUNT) -> AsyncIterator[Self]:
        """Raises `ClusterError` where no cluster is known. Nothing is asked yet."""
        async with client.ApiClient(await found(account)) as connection:
            yield cls(connection, contact, account)

    def guarded(self, may_write: Callable[[], None]) -> Kube:
        """The same connections; `may_write` is asked before each write."""
        return Kube(self._connection, self._contact, self._account, may_write)

    async def ask(
        self,
        method: str,
        path: str,
        body: Object | None = None,
        *,
        query: Mapping[str, str] | None = None,
        media_type: str = "application/json",
        seconds: float = CALL_SECONDS,
    ) -> Object:
        """One request. Raises `ClusterError`."""
        url = f"{self._connection.configuration.host}{path}" + (f"?{urlencode(query)}" if query else "")
        headers = {"Content-Type": media_type, "Accept": "application/json", "User-Agent": MANAGER}
        timeout = aiohttp.ClientTimeout(total=seconds, sock_read=CALL_SECONDS, sock_connect=CALL_SECONDS)
        verb = method.lower()
        try:
            await self._connection.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
            if method != "GET":
                self._may_write()
            answer = await self._connection.rest_client.request(
                method, url, headers=headers, body=body, _request_timeout=timeout
            )
            text: bytes = await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            metrics.CALLS.labels(verb, "none").inc()
            self._contact.silent()
            raise ClusterError(f"the API server does not answer: {type(error).__name__}", again=True) from error
        metrics.CALLS.labels(verb, str(answer.status)).inc()
        if answer.status < 500:
            self._contact.answered()
        else:
            self._contact.silent()
        if answer.status == 401:  # the next one is asked with what is there by then
            self._connection.configuration = await found(self._account)
        if answer.status >= 400:
            raise refused(answer.status, answer.reason or "", text)
        return _read(text)

    async def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """Raises `ClusterError`."""
        return await self.ask("GET", kind.path(namespace, name))

    async def list(self, kind: Kind, namespace: str = "", *, labels: str = "", fields: str = "") -> Listed:
        """All that there are, page by page. Raises `ClusterError`; status 410 where it took too long."""
        query = {"limit": str(PAGE)}
        query |= {name: value for name, value in (("labelSelector", labels), ("fieldSelector", fields)) if value}
        items: list[Object] = []
        while True:
            page = await self.ask("GET", kind.path(namespace), query=query, seconds=LIST_SECONDS)
            items += page.get("items") or []
            if not page["metadata"].get("continue"):
                return Listed(items, page["metadata"].get("resourceVersion", ""))
            query["continue"] = page["metadata"]["continue"]

    async def apply(self, body: Object, manager: str = MANAGER) -> Object:
        """Server-side apply, by force; what there is then. Raises `ClusterError`.

        https://kubernetes.io/docs/reference/using-api/server-side-apply/
        """
        meta = body["metadata"]
        path = APPLIED[body["kind"]].path(meta["namespace"], meta["name"])
        query = {"fieldManager": manager, "force": "true"}
        return await self.ask("PATCH", path, body, query=query, media_type=APPLY)

    async def patch(self, kind: Kind, namespace: str, name: str, body: Object, subresource: str = "") -> Object:
        """A merge patch (RFC 7386). Raises `ClusterError`."""
        path = kind.path(namespace, name, subresource)
        return await self.ask("PATCH", path, body, query={"fieldManager": MANAGER}, media_type=MERGE)

    async def create(self, kind: Kind, namespace: str, body: Object) -> Object:
        """Raises `ClusterError`."""
        return await self.ask("POST", kind.path(namespace), body, query={"fieldManager": MANAGER})

    async def delete(self, kind: Kind, namespace: str, name: str) -> None:
        """What is not there is deleted already. Raises `ClusterError`."""
        try:
            await self.ask("DELETE", kind.path(namespace, name))
        except ClusterError as error:
            if error.status != 404:
                raise

    async def serves(self, group: str) -> bool:
        """Whether the cluster has an API group. Raises `ClusterError`."""
        groups = await self.ask("GET", "/apis")
        return any(each["name"] == group for each in groups["groups"])


def _read(text: bytes) -> Object:
    try:
        found: Object = json.loads(text)
    except ValueError as error:
        raise ClusterError("what answers at the API server's address speaks no JSON", again=True) from error
    return found
