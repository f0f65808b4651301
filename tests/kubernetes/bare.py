"""A cluster that has only what `kubectl apply -k deploy/` has made: its Pods wait, as there is no Node."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.control_plane import controlled
from tests.fixtures.kubernetes import Cluster, kubeconfig, started_cluster
from tests.kubernetes.kubectl import DEPLOY, Kubectl, program


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


@pytest.fixture(scope="module")
def bare() -> Iterator[Bare]:
    with started_cluster() as cluster, controlled(cluster):
        kubectl = Kubectl(cluster.kubeconfig(), program())
        said, _ = kubectl.run("apply", "-k", str(DEPLOY))
        kubectl.run("apply", "-f", str(DEPLOY / "overlays" / "production" / "by-digest.yaml"))
        yield Bare(cluster, kubectl, said)
