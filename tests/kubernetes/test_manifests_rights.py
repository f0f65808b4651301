"""Rights that deploy/ gives, on a bare cluster: to the operator, to coordinators and workers, to people."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.kubernetes.bare import DIGEST, Bare
from tests.kubernetes.kubectl import Kubectl, KubectlError
from tests.kubernetes.operator_process import Bench
from tests.kubernetes.workloads import until

pytestmark = [pytest.mark.kubernetes, pytest.mark.xdist_group("kubernetes")]

OPERATOR = "system:serviceaccount:agentos:agentos-operator"
OWN = {"app.kubernetes.io/managed-by": "agentos-operator"}
ROLES = "/apis/rbac.authorization.k8s.io/v1/namespaces"


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
    bare: Bare, team: str, as_operator: Kubectl
) -> None:
    await as_operator("apply", "--server-side", "-n", team, "-f", "-", given=binding("agentos-worker-events"))
    worker = f"system:serviceaccount:{team}:gpt-worker"
    assert bare.may(worker, "create /events", team)
    for right in ("get /events", "get /secrets", "list /pods", "patch model.youxam.com/aimodels/status"):
        assert not bare.may(worker, right, team)
    with pytest.raises(KubectlError, match="attempting to grant RBAC permissions not currently held"):
        await as_operator("apply", "--server-side", "-n", team, "-f", "-", given=binding("cluster-admin"))


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


async def test_the_operator_writes_no_object_but_its_own(bare: Bare, team: str, as_operator: Kubectl) -> None:
    await bare.kubectl("create", "secret", "generic", "gpt-credentials", "--from-literal=API_KEY=secret", "-n", team)
    own = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "gpt-credentials", "labels": OWN}}
    apply = ("apply", "--server-side", "--force-conflicts", "--field-manager=agentos-operator", "-n", team, "-f", "-")
    with pytest.raises(KubectlError, match="gpt-credentials is not the operator's: it has no label") as refused:
        await as_operator(*apply, given=json.dumps(own))
    assert "API_KEY" not in str(refused.value)
    await bare.kubectl("delete", "secret", "gpt-credentials", "-n", team)
    await as_operator(*apply, given=json.dumps(own))
    bald = own | {"metadata": {"name": "another"}}
    with pytest.raises(KubectlError, match="another is not the operator's"):
        await as_operator(*apply, given=json.dumps(bald))


@pytest.mark.parametrize("role", ["view", "edit", "admin"])
async def test_who_has_a_role_in_a_namespace_has_it_for_aimodels(bare: Bare, team: str, role: str) -> None:
    await bare.kubectl("create", "rolebinding", "jane", f"--clusterrole={role}", "--user=jane", "-n", team)
    aimodels = "model.youxam.com/aimodels"
    await until(lambda: bare.may("jane", f"list {aimodels}", team), "the controllers put the roles together")
    edits = role != "view"
    for right in (f"create {aimodels}", f"patch {aimodels}", f"delete {aimodels}", f"patch {aimodels}/scale"):
        assert bare.may("jane", right, team) is edits
    assert bare.may("jane", f"get {aimodels}/scale", team)
    assert not bare.may("jane", f"patch {aimodels}/status", team)
    assert not bare.may("jane", f"list {aimodels}", "default")


async def test_an_operator_for_one_namespace_needs_no_rights_elsewhere(bare: Bare, team: str, tmp_path: Path) -> None:
    """As docs/kubernetes.md says it: the same roles, bound in that namespace alone."""
    account = f"{team}:agentos-operator"
    lease = bare.cluster.ask("GET", f"{ROLES}/agentos/roles/agentos-operator-lease")
    metadata = {"name": "agentos-operator-lease"}
    bare.cluster.ask("POST", f"{ROLES}/{team}/roles", {"metadata": metadata, "rules": lease["rules"]})
    for command in (
        "serviceaccount agentos-operator",
        f"rolebinding agentos-operator --clusterrole=agentos-operator --serviceaccount={account}",
        f"rolebinding agentos-operator-lease --role=agentos-operator-lease --serviceaccount={account}",
    ):
        await bare.kubectl("create", *command.split(), "-n", team)
    await bare.become("agentos-operator", team, tmp_path)
    bench = Bench(bare.cluster, team, tmp_path)
    try:
        bench.make("gpt")
        operator = bench.operator({"AGENTOS_WORKER_IMAGE": DIGEST}, tmp_path / "agentos-operator.kubeconfig")
        status = await bench.state("gpt", "Idle")
        assert status["desiredReplicas"] == 0
        await operator.ready()
        assert await operator.stopped() == 0
        assert "403" not in operator.log()
    finally:
        bench.close()
