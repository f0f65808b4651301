"""A Kubernetes API server with its controllers under `python -m bench operator`, and who speaks with it.

There is no Node: Pods stay Pending.
"""

from __future__ import annotations

import asyncio
import re
import ssl
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp

from bench.stage import say
from coordinator.operator.cluster.announcing import Announcement, event
from coordinator.operator.cluster.kinds import AIMODELS, APPLIED, EVENTS, Kind
from coordinator.operator.wanted.aimodel import read
from coordinator.operator.wanted.children import children
from coordinator.operator.wanted.names import MANAGED
from coordinator.operator.wanted.site import Site
from core.aimodels import API_VERSION, KIND
from core.errors import PartError
from tests.fixtures.control_plane import controlled
from tests.fixtures.kube_binaries import KUBECTL
from tests.fixtures.kubernetes import ADMIN, Cluster, kubeconfig, programs, started_cluster
from tests.kubernetes.kubectl import DEPLOY, Kubectl

NAMESPACE = "agentos"
# As many as the operator has.
SIDE_BY_SIDE = 16
CALL_SECONDS = 60.0
# Its flow schema is that of all service accounts; Kubernetes' own controllers have another one.
_REQUESTS = re.compile(
    r'^apiserver_flowcontrol_dispatched_requests_total\{flow_schema="service-accounts".*\} (\S+)$', re.MULTILINE
)
Object = dict[str, Any]


class Applied(NamedTuple):
    """What a bare client has written for each AIModel, and how long it took."""

    seconds: float
    writes: int


@contextmanager
def installed() -> Iterator[Cluster]:
    """A cluster with deploy/ applied. Raises `PartError`."""
    binaries = programs()
    say("starting Kubernetes")
    with started_cluster() as cluster, controlled(cluster):
        Kubectl(cluster.kubeconfig(), binaries[KUBECTL]).run("apply", "-k", str(DEPLOY))
        yield cluster


def account(cluster: Cluster) -> Path:
    """A KUBECONFIG of the operator's service account."""
    path = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/agentos-operator/token"
    request = {"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1"}
    token = cluster.ask("POST", path, request | {"spec": {"expirationSeconds": 86_400}})["status"]["token"]
    file = cluster.directory / "operator.kubeconfig"
    file.write_text(kubeconfig(cluster.url, cluster.ca, token))
    return file


class Bare:
    """The cluster's administrator, over connections that are kept."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def ask(self, method: str, path: str, body: Object | None = None, kind: str = "application/json") -> Object:
        """Raises `PartError` where it is refused."""
        async with self._session.request(method, path, json=body, headers={"Content-Type": kind}) as response:
            if response.status >= 400:
                raise PartError(f"{method} {path}: {response.status} {await response.text()}")
            told: Object = await response.json()
            return told

    async def listed(self, kind: Kind, namespace: str, labels: str = "") -> list[Object]:
        """From the API server's memory."""
        query = "?resourceVersion=0" + (f"&labelSelector={labels}" if labels else "")
        found: list[Object] = (await self.ask("GET", kind.path(namespace) + query))["items"]
        return found

    async def requests(self) -> int:
        """What service accounts have asked so far."""
        async with self._session.get("/metrics") as response:
            return int(sum(map(float, _REQUESTS.findall(await response.text()))))

    async def namespace(self) -> str:
        """A new one."""
        name = f"bench-{uuid.uuid4().hex[:8]}"
        await self.ask("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        return name

    async def make(self, namespace: str, count: int) -> list[Object]:
        """So many AIModels, side by side. They want no workers."""
        return await _side_by_side([self._one(namespace, number) for number in range(count)])

    def _one(self, namespace: str, number: int) -> Callable[[], Awaitable[Object]]:
        name = f"model-{number}"
        spec = {"type": "remote", "model": name, "baseURL": "http://127.0.0.1:9", "apiKey": "none", "replicas": 0}
        meta = {"name": name, "namespace": namespace}
        body = {"apiVersion": API_VERSION, "kind": KIND, "metadata": meta, "spec": spec}
        return lambda: self.ask("POST", AIMODELS.path(namespace), body)

    async def write(self, models: Sequence[Object], status: Object, site: Site) -> list[int]:
        """What the operator writes for each: its children, its status, one Event. How many writes each was."""
        return await _side_by_side([self._written(each, status, site) for each in models])

    def _written(self, body: Object, status: Object, site: Site) -> Callable[[], Awaitable[int]]:
        async def write() -> int:
            model = read(body)
            namespace, name = model.key
            applied = children(model, site, 0)
            for each in applied:
                path = APPLIED[each["kind"]].path(namespace, each["metadata"]["name"])
                query = "?fieldManager=bench&force=true"
                await self.ask("PATCH", path + query, each, "application/apply-patch+yaml")
            patch = {"status": status}
            await self.ask("PATCH", AIMODELS.path(namespace, name, "status"), patch, "application/merge-patch+json")
            told = Announcement(model.key, model.uid, "Created", "replicas: 0", 0.0)
            await self.ask("POST", EVENTS.path(namespace), event(told, "bench"))
            return len(applied) + 2

        return write

    async def whole(self, namespace: str, count: int) -> Sequence[Object] | None:
        """The AIModels, if each has its status; None until then."""
        models = await self.listed(AIMODELS, namespace)
        told = [each for each in models if each.get("status", {}).get("observedGeneration")]
        return told if len(told) == count else None

    async def must_be_whole(self, namespace: str, count: int) -> None:
        """Raises `PartError` where an AIModel lacks one of its objects."""
        for name in ("Secret", "ServiceAccount", "RoleBinding", "Deployment"):
            found = len(await self.listed(APPLIED[name], namespace, MANAGED))
            if found != count:
                raise PartError(f"{found} of {count} AIModels have their {name}")


@asynccontextmanager
async def bare(cluster: Cluster) -> AsyncIterator[Bare]:
    """Its administrator."""
    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=str(cluster.ca)), limit=SIDE_BY_SIDE)
    headers: Mapping[str, str] = {"Authorization": f"Bearer {ADMIN}"}
    timeout = aiohttp.ClientTimeout(total=CALL_SECONDS)
    async with aiohttp.ClientSession(cluster.url, connector=connector, headers=headers, timeout=timeout) as session:
        yield Bare(session)


async def _side_by_side(works: Sequence[Callable[[], Awaitable[Any]]]) -> list[Any]:
    at_once = asyncio.Semaphore(SIDE_BY_SIDE)

    async def one(work: Callable[[], Awaitable[Any]]) -> Any:
        async with at_once:
            return await work()

    return await asyncio.gather(*map(one, works))
