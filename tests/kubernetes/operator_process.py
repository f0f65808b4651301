"""Operators as processes of the tests, each of one namespace, and AIModels for them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from agentos.parts.pulsar import free_ports
from tests.fixtures.kubernetes import Cluster
from tests.kubernetes.workloads import until

Object = dict[str, Any]

ROOT = Path(__file__).parents[2]
AIMODELS = "/apis/model.youxam.com/v1alpha1"
# Nobody listens there: AIModels are looked after also while the broker is away.
NO_BUS = "postgresql://127.0.0.1:1/none"
# On no Node: other tests' run in the same cluster, and here no worker is to begin.
DEFAULTS: Object = {
    "type": "remote",
    "model": "m",
    "baseURL": "http://127.0.0.1:1",
    "replicas": 0,
    "nodeSelector": {"kubernetes.io/hostname": "none"},
}


class Operator:
    """`agentos operator`, as a process, looking after `namespace` alone."""

    def __init__(
        self, cluster: Cluster, namespace: str, log: Path, kubeconfig: Path, settings: Mapping[str, str]
    ) -> None:
        self._cluster = cluster
        self._log = log
        self.port = free_ports(1)[0]
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("AGENTOS_", "PULSAR_", "KUBE"))
        }
        environment |= {
            "KUBECONFIG": str(kubeconfig),
            "PORT": str(self.port),
            "AGENTOS_BUS_URL": NO_BUS,
            "AGENTOS_WORKER_IMAGE": "registry.example.com/agentos:1",
            "AGENTOS_OPERATOR_NAMESPACES": namespace,
            "AGENTOS_LEASE_NAMESPACE": namespace,
            "AGENTOS_LEASE_SECONDS": "6",
            "AGENTOS_RESYNC_SECONDS": "60",
        } | dict(settings)
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "agentos", "operator"],
                cwd=ROOT,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
            )

    def log(self) -> str:
        """What it has written."""
        return self._log.read_text()

    def ask(self, path: str) -> tuple[int, str]:
        """What its health, readiness or metrics say; status 0 where it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def metric(self, name: str) -> float:
        """The sum of the samples of that name; 0 where there are none."""
        lines = [line for line in self.ask("/metrics")[1].splitlines() if line.partition("{")[0].split()[0] == name]
        return sum(float(line.rpartition(" ")[2]) for line in lines)

    def leads(self) -> bool:
        return self.metric("agentos_operator_leads") == 1

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def ready(self) -> None:
        await until(lambda: self.ask("/ready")[0] == 200, f"the operator is ready: {self.ask('/ready')}")

    async def stopped(self) -> int:
        """Ends it as Kubernetes would; the exit code."""
        self.signal(signal.SIGTERM)
        await until(lambda: self.process.poll() is not None, "the operator has ended")
        return self.process.wait()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


class Bench:
    """A namespace with AIModels, and the operators that look after it."""

    def __init__(self, cluster: Cluster, namespace: str, directory: Path) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self._directory = directory
        self._stack = contextlib.ExitStack()
        self._count = 0

    def close(self) -> None:
        self._stack.close()

    def operator(self, settings: Mapping[str, str] | None = None, kubeconfig: Path | None = None) -> Operator:
        """Another one; it ends with the test."""
        self._count += 1
        log = self._directory / f"operator-{self._count}.log"
        file = kubeconfig or self.cluster.kubeconfig()
        started = Operator(self.cluster, self.namespace, log, file, settings or {})
        self._stack.callback(started.kill)
        return started

    def path(self, kind: str, name: str = "") -> str:
        """Where objects of a kind are."""
        prefix = {
            "aimodels": AIMODELS,
            "deployments": "/apis/apps/v1",
            "rolebindings": "/apis/rbac.authorization.k8s.io/v1",
            "leases": "/apis/coordination.k8s.io/v1",
            "scaledobjects": "/apis/keda.sh/v1alpha1",
            "triggerauthentications": "/apis/keda.sh/v1alpha1",
        }.get(kind, "/api/v1")
        return f"{prefix}/namespaces/{self.namespace}/{kind}" + (f"/{name}" if name else "")

    def find(self, kind: str, name: str) -> Object | None:
        return self.cluster.find(self.path(kind, name))

    def make(self, name: str, **spec: Any) -> Object:
        """An AIModel."""
        body = {
            "apiVersion": "model.youxam.com/v1alpha1",
            "kind": "AIModel",
            "metadata": {"name": name},
            "spec": DEFAULTS | spec,
        }
        return self.cluster.ask("POST", self.path("aimodels"), body)

    def change(self, kind: str, name: str, change: Callable[[Object], None]) -> Object:
        """Read, changed, written; again if another has written meanwhile."""
        while True:
            found = self.cluster.ask("GET", self.path(kind, name))
            change(found)
            try:
                return self.cluster.ask("PUT", self.path(kind, name), found)
            except urllib.error.HTTPError as error:
                if error.code != 409:
                    raise

    def status(self, name: str) -> Object:
        """Of an AIModel; empty if it has none yet."""
        status: Object = (self.find("aimodels", name) or {}).get("status", {})
        return status

    async def state(self, name: str, state: str, seconds: float = 60.0) -> Object:
        """The AIModel's status, once it is so, as it is now."""

        def seen() -> bool:
            found = self.find("aimodels", name) or {}
            told = found.get("status", {})
            newest = told.get("observedGeneration") == found.get("metadata", {}).get("generation")
            return bool(newest and told.get("state") == state)

        try:
            await until(seen, f"{name} is {state}", seconds=seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}: {json.dumps(self.status(name))}") from error
        return self.status(name)

    def events(self, name: str) -> list[tuple[str, str]]:
        """Reasons and messages of the operator's Events about an AIModel, the oldest first."""
        found = self.cluster.ask("GET", self.path("events"))["items"]
        ours = [
            each
            for each in found
            if each["involvedObject"]["name"] == name and each["source"].get("component") == "agentos-operator"
        ]
        ours.sort(key=lambda each: int(each["metadata"]["resourceVersion"]))
        return [(each["reason"], each["message"]) for each in ours]

    def holder(self) -> str:
        """Who leads, as the Lease says."""
        lease = self.find("leases", "agentos-operator")
        return str(lease["spec"].get("holderIdentity") or "") if lease else ""
