"""What a Pod's environment and files are made of: Secrets, ConfigMaps, its own fields, a token."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from typing import Literal

from tests.nodeagent.api import Api, Refused
from tests.nodeagent.spec import Object, Pod

Kind = Literal["secrets", "configmaps"]
_KEYED = re.compile(r"metadata\.(labels|annotations)\['(.+)'\]")


class NotYet(Exception):
    """A container cannot start now; it is tried again. `reason` is that of its waiting state."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


def not_supported(what: str) -> NotYet:
    """The refusal of what this agent cannot give."""
    return NotYet("NotSupported", f"the tests' node agent has no {what}")


class Sources:
    """Reads them for one Pod, with the rights of the Node."""

    def __init__(self, api: Api, pod: Pod, address: str) -> None:
        self._api = api
        self._pod = pod
        self._fields = fields(pod, address)

    async def data(self, kind: Kind, name: str, *, optional: bool) -> dict[str, bytes] | None:
        """The keys of a Secret or ConfigMap; None if it may be missing and is. Raises `NotYet`."""
        try:
            found = await self._api.ask("GET", f"/api/v1/namespaces/{self._pod.metadata.namespace}/{kind}/{name}")
        except Refused as error:
            if error.status == 404 and optional:
                return None
            raise NotYet("CreateContainerConfigError", str(error)) from error
        return _decoded(found)

    async def token(self, audience: str, seconds: int) -> str:
        """A token of the Pod's service account, bound to the Pod."""
        meta = self._pod.metadata
        bound = {"kind": "Pod", "apiVersion": "v1", "name": meta.name, "uid": meta.uid}
        wanted: Object = {"expirationSeconds": seconds, "boundObjectRef": bound}
        if audience:
            wanted["audiences"] = [audience]
        account = f"/api/v1/namespaces/{meta.namespace}/serviceaccounts/{self._pod.spec.service_account_name}"
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": wanted}
        try:
            answer = await self._api.ask("POST", f"{account}/token", body)
        except Refused as error:
            raise NotYet("ContainerCreating", str(error)) from error
        token: str = answer["status"]["token"]
        return token

    async def links(self) -> dict[str, str]:
        """The Services of the namespace, unless the Pod wants none of them. Raises `NotYet`."""
        if not self._pod.spec.enable_service_links:
            return {}
        try:
            found = await self._api.ask("GET", f"/api/v1/namespaces/{self._pod.metadata.namespace}/services")
        except Refused as error:
            raise NotYet("CreateContainerConfigError", str(error)) from error
        return service_links(found["items"])

    def field(self, path: str) -> str:
        """A field of the Pod, by the path of the downward API. Raises `NotYet`."""
        if keyed := _KEYED.fullmatch(path):
            held = self._pod.metadata.labels if keyed[1] == "labels" else self._pod.metadata.annotations
            return held.get(keyed[2], "")
        if path not in self._fields:
            raise not_supported(f"fieldRef {path}")
        return self._fields[path]


def service_links(services: Iterable[Object]) -> dict[str, str]:
    """https://kubernetes.io/docs/tutorials/services/connect-applications-service/#environment-variables"""
    links: dict[str, str] = {}
    for service in services:
        spec = service["spec"]
        if (address := spec.get("clusterIP", "None")) == "None":
            continue
        prefix, first = service["metadata"]["name"].upper().replace("-", "_"), spec["ports"][0]
        links[f"{prefix}_SERVICE_HOST"] = address
        links[f"{prefix}_SERVICE_PORT"] = str(first["port"])
        links[f"{prefix}_PORT"] = f"{first.get('protocol', 'TCP').lower()}://{address}:{first['port']}"
    return links


def fields(pod: Pod, address: str) -> Mapping[str, str]:
    """https://kubernetes.io/docs/concepts/workloads/pods/downward-api/"""
    meta, spec = pod.metadata, pod.spec
    return {
        "metadata.name": meta.name,
        "metadata.namespace": meta.namespace,
        "metadata.uid": meta.uid,
        "metadata.labels": _lines(meta.labels),
        "metadata.annotations": _lines(meta.annotations),
        "spec.nodeName": spec.node_name,
        "spec.serviceAccountName": spec.service_account_name,
        "status.podIP": address,
        "status.podIPs": address,
        "status.hostIP": "127.0.0.1",
    }


def _lines(pairs: Mapping[str, str]) -> str:
    return "\n".join(f'{key}="{value}"' for key, value in sorted(pairs.items()))


def _decoded(found: Object) -> dict[str, bytes]:
    if found["kind"] == "Secret":
        return {key: base64.b64decode(value) for key, value in found.get("data", {}).items()}
    plain = {key: value.encode() for key, value in found.get("data", {}).items()}
    return plain | {key: base64.b64decode(value) for key, value in found.get("binaryData", {}).items()}
