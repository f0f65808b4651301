"""deploy/ on a bare cluster, applied by kubectl: all of it, the rights that it gives, the policies that it makes."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kubernetes.bare import Bare
from tests.kubernetes.kubectl import DEPLOY, Kubectl, KubectlError
from tests.kubernetes.workloads import until

pytestmark = [pytest.mark.kubernetes, pytest.mark.xdist_group("kubernetes")]

Object = dict[str, Any]

OPERATOR = "system:serviceaccount:agentos:agentos-operator"
OWN = {"app.kubernetes.io/managed-by": "agentos-operator"}
REMOTE = {"type": "remote", "model": "m", "baseURL": "https://api.example.com"}
BY_DIGEST = {"model.youxam.com/images": "by-digest"}
TAG = "registry.example.com/two:1"
DIGEST = f"registry.example.com/agentos@sha256:{'0' * 64}"
EXAMPLES = {file.stem: file.read_text() for file in (DEPLOY / "examples").glob("*.yaml")}
POLICIES = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"


@pytest.fixture
def home(bare: Bare) -> Iterator[str]:
    """A namespace of the test's own that asks for images by digest."""
    name = "t" + uuid.uuid4().hex[:12]
    path = "/api/v1/namespaces"
    bare.cluster.ask("POST", path, {"metadata": {"name": name, "labels": BY_DIGEST}})
    yield name
    bare.cluster.ask("DELETE", f"{path}/{name}")


@pytest.fixture
async def operator(bare: Bare, tmp_path: Path) -> Kubectl:
    """kubectl as the operator."""
    return await bare.become("agentos-operator", "agentos", tmp_path)


def aimodel(**spec: Any) -> str:
    head = {"apiVersion": "model.youxam.com/v1alpha1", "kind": "AIModel", "metadata": {"name": "gpt"}}
    return json.dumps(head | {"spec": REMOTE | spec})


def test_one_apply_makes_all_of_it(bare: Bare) -> None:
    lines = bare.said.splitlines()
    assert len(lines) > 20
    assert all(line.endswith(" created") for line in lines)


async def test_a_second_apply_is_welcome(bare: Bare) -> None:
    assert " created" not in await bare.kubectl("apply", "-k", str(DEPLOY))


async def test_pod_security_lets_the_pods_in(bare: Bare) -> None:
    """The namespace enforces "restricted"; without a Node they wait."""

    def seen() -> bool:
        pods = bare.cluster.ask("GET", "/api/v1/namespaces/agentos/pods")["items"]
        return len(pods) == 4

    await until(seen, "Pods of two Deployments")
    events = await bare.kubectl(
        "get", "events", "-n", "agentos", "--field-selector=reason=FailedCreate", "-o", "name"
    )
    assert events == ""


@pytest.mark.parametrize("overlay", ["dev", "production"])
async def test_the_api_server_takes_each_overlay(bare: Bare, overlay: str) -> None:
    directory = DEPLOY / "overlays" / overlay
    said, warned = await bare.kubectl.both("apply", "--dry-run=server", "-k", str(directory))
    assert "(server dry run)" in said
    assert warned == ""  # of Pod Security, of fields that are no more


@pytest.mark.parametrize("example", EXAMPLES.values(), ids=EXAMPLES)
async def test_the_api_server_takes_each_example(bare: Bare, home: str, example: str) -> None:
    said, warned = await bare.kubectl.both("apply", "-n", home, "-f", "-", given=example)
    assert said.endswith(" created\n")
    assert warned == ""


@pytest.mark.parametrize(
    "right",
    [
        "list model.youxam.com/aimodels",
        "watch model.youxam.com/aimodels",
        "patch model.youxam.com/aimodels/status",
        "create apps/deployments",
        "patch apps/deployments",
        "watch apps/deployments",
        "create /secrets",
        "patch /secrets",
        "create /serviceaccounts",
        "patch rbac.authorization.k8s.io/rolebindings",
        "list /pods",
        "patch /pods",
        "watch /events",
        "create /events",
        "patch keda.sh/scaledobjects",
        "delete keda.sh/scaledobjects",
        "patch keda.sh/triggerauthentications",
    ],
)
def test_the_operator_may(bare: Bare, right: str) -> None:
    assert bare.may(OPERATOR, right)


@pytest.mark.parametrize(
    "right",
    [
        "create model.youxam.com/aimodels",
        "patch model.youxam.com/aimodels",
        "delete model.youxam.com/aimodels",
        "delete apps/deployments",
        "get /secrets",
        "list /secrets",
        "watch /secrets",
        "delete /secrets",
        "create /serviceaccounts/token",
        "create /pods",
        "delete /pods",
        "create /pods/exec",
        "get /configmaps",
        "create rbac.authorization.k8s.io/roles",
        "create rbac.authorization.k8s.io/clusterrolebindings",
        "bind rbac.authorization.k8s.io/clusterroles",
        "escalate rbac.authorization.k8s.io/clusterroles",
        "impersonate /users",
        "get coordination.k8s.io/leases",
        "get /nodes",
    ],
)
def test_the_operator_may_not(bare: Bare, right: str) -> None:
    assert not bare.may(OPERATOR, right)


def test_the_operator_has_its_lease_and_no_other(bare: Bare) -> None:
    update = "update coordination.k8s.io/leases"
    assert bare.may(OPERATOR, update, "agentos", "agentos-operator")
    assert not bare.may(OPERATOR, update, "agentos", "another")
    assert not bare.may(OPERATOR, update, "kube-system", "agentos-operator")


def test_coordinators_may_nothing(bare: Bare) -> None:
    for right in ("get /secrets", "list model.youxam.com/aimodels", "create /events", "list /pods"):
        assert not bare.may("system:serviceaccount:agentos:agentos-coordinator", right, "agentos")


async def test_the_operator_gives_workers_the_right_to_events_and_no_other(
    bare: Bare, home: str, operator: Kubectl
) -> None:
    await operator("apply", "--server-side", "-n", home, "-f", "-", given=binding("agentos-worker-events"))
    worker = f"system:serviceaccount:{home}:gpt-worker"
    assert bare.may(worker, "create /events", home)
    for right in ("get /events", "get /secrets", "list /pods", "patch model.youxam.com/aimodels/status"):
        assert not bare.may(worker, right, home)
    with pytest.raises(KubectlError, match="attempting to grant RBAC permissions not currently held"):
        await operator("apply", "--server-side", "-n", home, "-f", "-", given=binding("cluster-admin"))


def binding(role: str) -> str:
    group = "rbac.authorization.k8s.io"
    body = {
        "apiVersion": f"{group}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": f"gpt-{role}", "labels": OWN},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": "gpt-worker"}],
    }
    return json.dumps(body)


async def test_the_operator_writes_no_object_but_its_own(bare: Bare, home: str, operator: Kubectl) -> None:
    await bare.kubectl("create", "secret", "generic", "gpt-credentials", "--from-literal=API_KEY=secret", "-n", home)
    own = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "gpt-credentials", "labels": OWN}}
    apply = ("apply", "--server-side", "--force-conflicts", "--field-manager=agentos-operator", "-n", home, "-f", "-")
    with pytest.raises(KubectlError, match="gpt-credentials is not the operator's: it has no label") as refused:
        await operator(*apply, given=json.dumps(own))
    assert "API_KEY" not in str(refused.value)
    await bare.kubectl("delete", "secret", "gpt-credentials", "-n", home)
    await operator(*apply, given=json.dumps(own))
    bald = own | {"metadata": {"name": "another"}}
    with pytest.raises(KubectlError, match="another is not the operator's"):
        await operator(*apply, given=json.dumps(bald))


@pytest.mark.parametrize("role", ["view", "edit", "admin"])
async def test_who_has_a_role_in_a_namespace_has_it_for_aimodels(bare: Bare, home: str, role: str) -> None:
    await bare.kubectl("create", "rolebinding", "jane", f"--clusterrole={role}", "--user=jane", "-n", home)
    aimodels = "model.youxam.com/aimodels"
    await until(lambda: bare.may("jane", f"list {aimodels}", home), "the controllers put the roles together")
    edits = role != "view"
    for right in (f"create {aimodels}", f"patch {aimodels}", f"delete {aimodels}", f"patch {aimodels}/scale"):
        assert bare.may("jane", right, home) is edits
    assert bare.may("jane", f"get {aimodels}/scale", home)
    assert not bare.may("jane", f"patch {aimodels}/status", home)
    assert not bare.may("jane", f"list {aimodels}", "default")


async def test_a_key_in_plain_text_is_taken_and_warned_of(bare: Bare, home: str) -> None:
    warned = ""
    while not warned:  # the policy comes into force a moment after it is made
        given = aimodel(apiKey="sk-not-a-key")
        said, warned = await bare.kubectl.both("apply", "--dry-run=server", "-n", home, "-f", "-", given=given)
        assert said == "aimodel.model.youxam.com/gpt created (server dry run)\n"
    assert warned.startswith("Warning: ")
    assert "spec.apiKeySecretRef" in warned
    assert "sk-not-a-key" not in warned
    given = aimodel(apiKeySecretRef={"name": "openai"})
    _, warned = await bare.kubectl.both("apply", "--dry-run=server", "-n", home, "-f", "-", given=given)
    assert warned == ""


async def test_images_without_a_digest_are_refused_where_the_namespace_says_so(bare: Bare, home: str) -> None:
    refused = "images of this namespace are named by digest .* deploy/pin .* not so: registry.example.com/two:1"
    create = ("create", "deployment", "d", "-n", home)
    with pytest.raises(KubectlError, match=refused):
        await bare.kubectl(*create, f"--image={DIGEST}", f"--image={TAG}")
    with pytest.raises(KubectlError, match=refused):
        await bare.kubectl("run", "p", "-n", home, f"--image={TAG}")
    await bare.kubectl(*create, f"--image={DIGEST}")
    await bare.kubectl("create", "deployment", "d", "-n", "default", f"--image={TAG}", "--dry-run=server")


async def test_the_expressions_of_all_policies_are_of_the_right_types(bare: Bare) -> None:
    """The controllers check them against the schemas of what they are about."""
    policies: list[Object] = []

    def checked() -> bool:
        policies[:] = bare.cluster.ask("GET", POLICIES)["items"]
        return all(each["status"].get("observedGeneration") for each in policies)

    await until(checked, "the controllers have looked at the policies")
    assert len(policies) == 3
    for policy in policies:
        warnings = policy["status"].get("typeChecking", {}).get("expressionWarnings", [])
        assert warnings == [], policy["metadata"]["name"]


async def test_uninstalling_takes_everything_away(bare: Bare) -> None:
    said = await bare.kubectl("delete", "-k", str(DEPLOY), "--dry-run=server")
    assert len(said.splitlines()) == len(bare.said.splitlines())
