"""A cluster that has only what `kubectl apply -k deploy/` has made: its Pods wait, as there is no Node."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.control_plane import controlled
from tests.fixtures.kubernetes import Cluster, kubeconfig, started_cluster
from tests.kubernetes.kubectl import DEPLOY, Kubectl, program

BY_DIGEST = {"model.youxam.com/images": "by-digest"}
DIGEST = f"registry.example.com/agentos@sha256:{'0' * 64}"


class Bare:
    """A cluster that had nothing before `kubectl apply -k deploy/`; `said` is what that has said."""

    def __init__(self, cluster: Cluster, kubectl: Kubectl, said: str) -> None:
        self.cluster = cluster
        self.kubectl = kubectl
        self.said = said

    def may(self, user: str, right: str, namespace: str = "", name: str = "") -> bool:
        """Whether RBAC lets the user. `right`: `verb group/resource[/subresource]`; without a namespace: in all."""
        verb, what = right.split()
        group, resource, *sub = what.split("/")
        asked = {"verb": verb, "group": group, "resource": resource, "subresource": "".join(sub), "name": name}
        groups = ["system:serviceaccounts", "system:authenticated"]
        spec = {"user": user, "groups": groups, "resourceAttributes": asked | {"namespace": namespace}}
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
        answer = self.cluster.ask("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
        return bool(answer["status"]["allowed"])

    async def become(self, account: str, namespace: str, directory: Path) -> Kubectl:
        """kubectl with the token of a service account."""
        token = await self.kubectl("create", "token", account, "-n", namespace)
        file = directory / f"{account}.kubeconfig"
        file.write_text(kubeconfig(self.cluster.url, self.cluster.ca, token.strip()))
        return self.kubectl.of(file)


@pytest.fixture(scope="session")
def bare() -> Iterator[Bare]:
    with started_cluster() as cluster, controlled(cluster):
        kubectl = Kubectl(cluster.kubeconfig(), program())
        said, _ = kubectl.run("apply", "-k", str(DEPLOY))
        kubectl.run("apply", "-f", str(DEPLOY / "overlays" / "production" / "by-digest.yaml"))
        yield Bare(cluster, kubectl, said)


@pytest.fixture
def team(bare: Bare) -> Iterator[str]:
    """A namespace of the test's own that asks for images by digest."""
    name = "t" + uuid.uuid4().hex[:12]
    path = "/api/v1/namespaces"
    bare.cluster.ask("POST", path, {"metadata": {"name": name, "labels": BY_DIGEST}})
    yield name
    bare.cluster.ask("DELETE", f"{path}/{name}")


@pytest.fixture
async def as_operator(bare: Bare, tmp_path: Path) -> Kubectl:
    """kubectl as the operator."""
    return await bare.become("agentos-operator", "agentos", tmp_path)
