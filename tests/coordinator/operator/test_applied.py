"""What is made for an AIModel, and what its status says, is what a real API server takes; its Pods are admitted where
Pod Security is at its strictest.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from coordinator.operator.state.failures import Failure, from_status
from coordinator.operator.state.status import Seen, patch_of, status_of, wrong_status
from coordinator.operator.wanted.aimodel import AIModel, WrongAIModel, read
from coordinator.operator.wanted.children import children
from tests.coordinator.operator.objects import EVERYTHING, NOON, REMOTE, SITE, Object, deployed
from tests.fixtures.kubernetes import Namespace
from tests.kubernetes.kubectl import Kubectl

pytestmark = [pytest.mark.kubernetes, pytest.mark.xdist_group("kubernetes"), pytest.mark.usefixtures("aimodels")]

APPLY = ("apply", "--server-side", "--field-manager=agentos-operator", "--force-conflicts", "-o", "json", "-f", "-")
FAILURE = Failure("AuthenticationError", "The key is refused.", NOON, 1)


@pytest.fixture
async def restricted(namespace: Namespace, kubectl: Kubectl) -> Namespace:
    levels = [f"pod-security.kubernetes.io/{mode}=restricted" for mode in ("enforce", "warn")]
    await kubectl("label", "namespace", namespace.name, *levels)
    return namespace


async def made(kubectl: Kubectl, namespace: Namespace, **spec: Any) -> Object:
    """An AIModel as the API server has it."""
    wanted = {
        "apiVersion": "model.youxam.com/v1alpha1",
        "kind": "AIModel",
        "metadata": {"name": "gpt", "namespace": namespace.name},
        "spec": REMOTE | spec,
    }
    found: Object = json.loads(await kubectl("apply", "-o", "json", "-f", "-", given=json.dumps(wanted)))
    return found


def ours(found: list[Object]) -> list[Object]:
    """Without what the controllers of a cluster, where they run, write meanwhile."""
    for each in found:
        each.pop("status", None)
        each["metadata"].pop("resourceVersion")
        each["metadata"].get("annotations", {}).pop("deployment.kubernetes.io/revision", None)
        if each["metadata"].get("annotations") == {}:
            del each["metadata"]["annotations"]
    return found


async def applied(kubectl: Kubectl, of: AIModel, *more: str, keda: bool = False) -> list[Object]:
    found = []
    for each in children(of, msgspec.structs.replace(SITE, keda=keda), None if keda else 1):
        told, warned = await kubectl.both(*APPLY, *more, given=json.dumps(each))
        assert not warned
        found.append(json.loads(told))
    return found


@pytest.mark.parametrize("spec", [{}, EVERYTHING], ids=["least", "all"])
async def test_it_takes_what_is_made_and_finds_nothing_to_change_the_second_time(
    restricted: Namespace, kubectl: Kubectl, spec: Object
) -> None:
    model = read(await made(kubectl, restricted, **spec))
    await applied(kubectl, model, "--dry-run=server")
    first, second = await applied(kubectl, model), await applied(kubectl, model)
    assert [each["kind"] for each in first] == ["Secret", "ServiceAccount", "RoleBinding", "Deployment"]
    assert ours(second) == ours(first)


async def test_what_is_taken_out_is_gone(restricted: Namespace, kubectl: Kubectl) -> None:
    everything = EVERYTHING | {"nodeSelector": None, "resources": None}
    before = await applied(kubectl, read(await made(kubectl, restricted, **EVERYTHING)))
    less = await applied(kubectl, read(await made(kubectl, restricted, **everything | {"apiKey": None, "env": []})))
    assert set(before[0]["data"]) == {"API_KEY", "PULSAR_TOKEN"}
    assert set(less[0]["data"]) == {"PULSAR_TOKEN"}
    [container] = less[3]["spec"]["template"]["spec"]["containers"]
    assert "FROM_SECRET" not in {each["name"] for each in container["env"]}
    assert not container["resources"]
    assert "nodeSelector" not in less[3]["spec"]["template"]["spec"]


@pytest.mark.usefixtures("keda")
async def test_keda_takes_what_is_made_for_it(restricted: Namespace, kubectl: Kubectl) -> None:
    """By its own definitions, from which nothing may be missing and to which nothing may be added."""
    model = read(await made(kubectl, restricted, msgBacklogThreshold=3))
    first, second = [await applied(kubectl, model, "--validate=strict", keda=True) for _ in range(2)]
    assert [each["kind"] for each in first[-2:]] == ["TriggerAuthentication", "ScaledObject"]
    assert ours(second) == ours(first)


async def test_its_pods_are_admitted(restricted: Namespace, kubectl: Kubectl) -> None:
    *_, deployment = await applied(kubectl, read(await made(kubectl, restricted, **EVERYTHING)))
    template = deployment["spec"]["template"]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": template["metadata"] | {"name": "gpt-1"}}
    given = json.dumps(pod | {"spec": template["spec"]})
    _, warned = await kubectl.both(
        "create", "--dry-run=server", "-n", restricted.name, "--validate=strict", "-f", "-", given=given
    )
    assert not warned


async def test_it_takes_every_status_and_gives_it_back(restricted: Namespace, kubectl: Kubectl) -> None:
    found = await made(kubectl, restricted)
    model = read(found)
    for seen in (
        Seen(scaler="backlog", replicas=2, deployment=deployed(2, ready=1), backlog=4, why="4 requests"),
        Seen(scaler="spec", replicas=1, deployment=deployed(1), failure=FAILURE),
        Seen(scaler="keda", deployment=deployed(0)),
    ):
        before = found.get("status", {})
        status = status_of(model, seen, before, NOON)
        found = await patched(kubectl, found, patch_of(before, status))
        assert found["status"] == status
        assert (from_status(found).failure is None) == (seen.failure is None)


async def test_one_that_cannot_be_read_says_so(restricted: Namespace, kubectl: Kubectl) -> None:
    """The API server refuses these; an older definition may not."""
    found = await made(kubectl, restricted)
    with pytest.raises(WrongAIModel) as refused:
        read(found | {"spec": REMOTE | {"type": "mock"}})
    status = wrong_status(found, str(refused.value), NOON)
    assert (await patched(kubectl, found, patch_of({}, status)))["status"] == status


async def patched(kubectl: Kubectl, body: Object, patch: Object | None) -> Object:
    where = ("aimodel", body["metadata"]["name"], "-n", body["metadata"]["namespace"], "--subresource=status")
    told = await kubectl("patch", *where, "--type=merge", "-o", "json", "-p", json.dumps(patch))
    found: Object = json.loads(told)
    return found
