"""The definition of AIModels over that of an earlier operator, with AIModels that are there already."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fixtures.kubernetes import started_cluster
from tests.kubernetes.kubectl import DEPLOY, Kubectl, KubectlError, program

pytestmark = [pytest.mark.kubernetes, pytest.mark.xdist_group("kubernetes")]

NAME = "aimodels.model.youxam.com"
# As loose as that of an earlier operator may have been: its fields, and no rules.
TEXTS = ("type", "model", "image", "baseURL", "apiKey")
NUMBERS = ("replicas", "maxProcessNum", "msgBacklogThreshold")
FIELDS = {name: {"type": "string" if name in TEXTS else "integer"} for name in TEXTS + NUMBERS}
STATUS = {"type": "object", "properties": {"state": {"type": "string"}, "message": {"type": "string"}}}
SCHEMA = {"type": "object", "properties": {"spec": {"type": "object", "properties": FIELDS}, "status": STATUS}}
EARLIER = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": NAME},
    "spec": {
        "group": "model.youxam.com",
        "scope": "Namespaced",
        "names": {"plural": "aimodels", "singular": "aimodel", "kind": "AIModel", "listKind": "AIModelList"},
        "versions": [
            {
                "name": "v1alpha1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": SCHEMA},
                "subresources": {"status": {}},
            }
        ],
    },
}
GOOD = {
    "type": "remote",
    "model": "gpt-4o",
    "baseURL": "https://api.openai.com",
    "replicas": 2,
    "apiKey": "not-a-key",
}
# The definition of today refuses it.
BAD = {"type": "remote", "model": "gpt-4o", "replicas": 1}


@pytest.fixture(scope="module")
def upgraded() -> Iterator[Kubectl]:
    """A cluster that had an earlier definition, and an AIModel `good` and one `bad`, when ours was applied."""
    with started_cluster() as cluster:
        kubectl = Kubectl(cluster.kubeconfig(), program())
        kubectl.run("apply", "-f", "-", given=json.dumps(EARLIER))
        kubectl.run("wait", "--for=condition=Established", f"crd/{NAME}", "--timeout=60s")
        for name, spec in (("good", GOOD), ("bad", BAD)):
            kubectl.run("apply", "-f", "-", given=aimodel(name, spec))
        kubectl.run("apply", "-f", str(DEPLOY / "base" / "crd.yaml"))
        yield kubectl


def aimodel(name: str, spec: dict[str, Any]) -> str:
    body = {"apiVersion": "model.youxam.com/v1alpha1", "kind": "AIModel", "metadata": {"name": name}, "spec": spec}
    return json.dumps(body)


async def told(kubectl: Kubectl, name: str) -> None:
    """Writes a status as the operator does; it is there then."""
    status = {"state": "Failed", "message": "ConfigurationError: …", "desiredReplicas": 0, "observedGeneration": 1}
    patch = json.dumps({"status": status})
    await kubectl("patch", "aimodel", name, "--subresource=status", "--type=merge", "-p", patch)
    assert json.loads(await kubectl("get", "aimodel", name, "-o", "json"))["status"] == status


async def test_what_was_there_is_kept_and_can_be_changed(upgraded: Kubectl) -> None:
    found = json.loads(await upgraded("get", "aimodel", "good", "-o", "json"))
    assert GOOD.items() <= found["spec"].items()
    await upgraded("scale", "aimodel", "good", "--replicas=3")
    await told(upgraded, "good")


async def test_what_the_new_definition_refuses_can_be_told_so_and_mended(upgraded: Kubectl) -> None:
    await told(upgraded, "bad")
    await upgraded("label", "aimodel", "bad", "looked-at=yes")  # what is not wrong may be changed
    with pytest.raises(KubectlError, match="type remote needs baseURL"):
        await upgraded("apply", "-f", "-", given=aimodel("bad", BAD | {"replicas": 2}))
    await upgraded("apply", "-f", "-", given=aimodel("bad", GOOD))
