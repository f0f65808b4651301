"""Pods and Deployments for tests, and what is known of them."""

from __future__ import annotations

import functools
import urllib.error
from collections.abc import Callable, Sequence
from typing import Any

import aiohttp

from tests.fixtures import fleet
from tests.fixtures.kubernetes import Cluster

Object = dict[str, Any]

PATIENCE = 60.0
PORT = 8080
# What of a Pod's spec is not its container's.
OF_POD = (
    *("restartPolicy", "terminationGracePeriodSeconds", "nodeName", "serviceAccountName", "volumes"),
    "enableServiceLinks",
)
until = functools.partial(fleet.until, seconds=PATIENCE)


def container(**fields: Any) -> Object:
    """The tests' tiny server, or what `fields` make of it."""
    return {"name": "main", "image": "registry.example.com/tiny:1", "ports": [{"containerPort": PORT}]} | fields


def shell(text: str) -> list[str]:
    """A command that runs the text."""
    return ["sh", "-c", text]


def probe(path: str = "/health", **fields: Any) -> Object:
    # The time limit is long: this machine may stall for seconds.
    return {"httpGet": {"path": path, "port": PORT}, "periodSeconds": 1, "timeoutSeconds": 10} | fields


class Space:
    """A namespace, without any service account but `default`."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.cluster = cluster
        self.name = name

    def path(self, plural: str, name: str = "") -> str:
        prefix = "/apis/apps/v1" if plural == "deployments" else "/api/v1"
        return f"{prefix}/namespaces/{self.name}/{plural}" + (f"/{name}" if name else "")

    def make(self, plural: str, name: str, **body: Any) -> Object:
        return self.cluster.ask("POST", self.path(plural), {"metadata": {"name": name}} | body)

    def pod(self, name: str, init: Sequence[Object] = (), /, **fields: Any) -> Object:
        """Made, of one container, and the init containers."""
        return self.make("pods", name, spec=spec_of(fields) | {"initContainers": init})

    def deployment(self, name: str, replicas: int, **fields: Any) -> Object:
        """Made, of the tiny server with a readiness probe; no Pod may be missing while it is rolled out."""
        labels = {"app": name}
        template = {"metadata": {"labels": labels}, "spec": spec_of({"readinessProbe": probe()} | fields)}
        strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
        spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template, "strategy": strategy}
        return self.make("deployments", name, spec=spec)

    def change(self, plural: str, name: str, patch: Callable[[Object], None]) -> None:
        """Read, changed, written; again if another has written meanwhile."""
        while True:
            found = self.cluster.ask("GET", self.path(plural, name))
            patch(found)
            try:
                self.cluster.ask("PUT", self.path(plural, name), found)
            except urllib.error.HTTPError as error:
                if error.code != 409:
                    raise
            else:
                return

    def scale(self, deployment: str, replicas: int) -> None:
        self.change("deployments", deployment, lambda found: found["spec"].update(replicas=replicas))

    def find(self, plural: str, name: str) -> Object | None:
        return self.cluster.find(self.path(plural, name))

    def pods(self) -> list[Object]:
        """Those that are not being deleted."""
        found: list[Object] = self.cluster.ask("GET", self.path("pods"))["items"]
        return [each for each in found if "deletionTimestamp" not in each["metadata"]]

    def endpoints(self, service: str) -> set[tuple[str, int]]:
        """Where the Service's requests would go: addresses and ports of the ready Pods that it selects."""
        spec = self.cluster.ask("GET", self.path("services", service))["spec"]
        wanted = spec["selector"].items()
        pods = [
            pod
            for pod in self.pods()
            if wanted <= pod["metadata"].get("labels", {}).items() and is_ready(pod["status"])
        ]
        return {(pod["status"]["podIP"], port_of(pod, port)) for pod in pods for port in spec["ports"]}

    def delete(self, plural: str, name: str, **options: Any) -> None:
        self.cluster.ask("DELETE", self.path(plural, name), options or None)

    async def told(self, pod: str, seen: Callable[[Object], Any], what: str) -> Object:
        """The Pod's status, once `seen` is true of it."""
        statuses: list[Object] = []

        def look() -> bool:
            found = self.find("pods", pod)
            statuses[:] = [found["status"] if found else {}]
            return bool(found and seen(found["status"]))

        try:
            await until(look, what)
        except AssertionError as error:
            raise AssertionError(f"{error}: {statuses}") from error
        return statuses[0]

    async def gone(self, pod: str) -> None:
        """Waits until it is deleted."""
        await until(lambda: self.find("pods", pod) is None, f"{pod} is deleted")

    async def available(self, deployment: str, replicas: int) -> None:
        """Waits until there are so many Pods, all of the newest template and all available."""

        def seen() -> bool:
            found = self.find("deployments", deployment) or {}
            status = found["status"]
            newest = status.get("observedGeneration") == found["metadata"]["generation"]
            numbers = {status.get(each, 0) for each in ("replicas", "updatedReplicas", "availableReplicas")}
            return newest and numbers == {replicas}

        await until(seen, f"{replicas} available of {deployment}")


def spec_of(fields: Object) -> Object:
    """Of a Pod: those of the fields that are not the container's, and the container."""
    of_pod = {key: value for key, value in fields.items() if key in OF_POD}
    return {"containers": [container(**{key: fields[key] for key in fields.keys() - of_pod})], **of_pod}


def main_of(status: Object) -> Object:
    """The status of the only container; empty before there is one."""
    found: list[Object] = status.get("containerStatuses", [])
    return found[0] if found else {"state": {}, "lastState": {}, "restartCount": 0}


def is_ready(status: Object) -> bool:
    return any(each["type"] == "Ready" and each["status"] == "True" for each in status.get("conditions", []))


def waiting(status: Object) -> str:
    """Why the container waits; empty if it does not."""
    reason: str = main_of(status)["state"].get("waiting", {}).get("reason", "")
    return reason


def port_of(pod: Object, port: Object) -> int:
    """The container's port that a port of a Service, by number or by name, leads to."""
    target: int | str = port["targetPort"]
    if isinstance(target, int):
        return target
    ports = [each for container in pod["spec"]["containers"] for each in container.get("ports", [])]
    return next(int(each["containerPort"]) for each in ports if each.get("name") == target)


async def get(address: str, path: str = "/", port: int = PORT) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(f"http://{address}:{port}{path}") as response:
        return response.status, await response.text()
