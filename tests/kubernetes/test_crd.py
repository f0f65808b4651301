"""AIModels as the API server takes them: what it accepts, what it refuses and how, what kubectl shows."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.fixtures.kubernetes import Namespace
from tests.kubernetes.kubectl import Kubectl, KubectlError

pytestmark = [pytest.mark.kubernetes, pytest.mark.xdist_group("kubernetes"), pytest.mark.usefixtures("aimodels")]

REMOTE: dict[str, Any] = {"type": "remote", "model": "gpt-4o", "baseURL": "https://api.openai.com"}
# As people have them for the earlier operator.
EARLIER: dict[str, dict[str, Any]] = {
    "remote": REMOTE
    | {"image": "registry.example.com/workernode:1.2", "replicas": 2, "apiKey": "sk-not-a-key", "maxProcessNum": 32},
    "keda": REMOTE | {"apiKey": "sk-not-a-key", "msgBacklogThreshold": 10},
    "local": {"type": "local", "model": "meta-llama/Llama-3.1-8B", "image": "llama:1", "replicas": 0, "baseURL": ""},
    "with an empty key": REMOTE | {"apiKey": "", "baseURL": "http://10.0.0.7:8000/v1"},
}
EVERYTHING = REMOTE | {
    "apiKeySecretRef": {"name": "openai"},
    "scaling": {"min": 1, "max": 5, "target": 8, "downSeconds": 30, "idleSeconds": 60},
    "callTimeoutSeconds": 120,
    "resources": {"requests": {"cpu": 1, "memory": "1.5Gi"}, "limits": {"nvidia.com/gpu": "1"}},
    "env": [
        {"name": "AGENTOS_REQUESTS_PER_MINUTE", "value": "500"},
        {"name": "FROM_SECRET", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k", "optional": True}}},
        {"name": "FROM_MAP", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "k"}}},
    ],
    "nodeSelector": {"gpu": "yes"},
    "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule", "tolerationSeconds": 5}],
    "imagePullSecrets": [{"name": "registry"}],
}
# What is changed of REMOTE, and what the API server says of it.
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a wrong type": ({"type": "mock"}, 'spec.type: Unsupported value: "mock": supported values: "local", "remote"'),
    "no type": ({"type": None}, "spec.type: Required value"),
    "no model": ({"model": None}, "spec.model: Required value"),
    "an empty model": ({"model": ""}, "spec.model: Invalid value"),
    "remote without baseURL": (
        {"baseURL": None},
        "spec.baseURL: Required value: type remote needs baseURL, the address of an OpenAI-compatible API, such as",
    ),
    "remote with an empty baseURL": ({"baseURL": ""}, "spec.baseURL: Required value: type remote needs baseURL"),
    "an address without http": (
        {"baseURL": "api.openai.com"},
        "must be an address that begins with http:// or https://, such as https://api.openai.com",
    ),
    "an address of another kind": (
        {"baseURL": "pulsar://broker:6650"},
        "must be an address that begins with http://",
    ),
    "negative replicas": (
        {"replicas": -1},
        "spec.replicas: Invalid value: -1: spec.replicas in body should be greater than or equal to 0",
    ),
    "replicas that are no number": ({"replicas": "two"}, 'spec.replicas: Invalid value: "string": spec.replicas'),
    "no slots": ({"maxProcessNum": 0}, "spec.maxProcessNum in body should be greater than or equal to 1"),
    "no threshold": ({"msgBacklogThreshold": 0}, "spec.msgBacklogThreshold in body should be greater than or equal"),
    "two keys": (
        {"apiKey": "sk-not-a-key", "apiKeySecretRef": {"name": "openai"}},
        "spec.apiKey: Forbidden: set one of apiKey and apiKeySecretRef, not both; apiKeySecretRef is the better",
    ),
    "a key of no Secret": ({"apiKeySecretRef": {"key": "k"}}, "spec.apiKeySecretRef.name: Required value"),
    "max below min": ({"scaling": {"min": 3, "max": 2}}, "spec.scaling.max: Invalid value"),
    "min above the default of max": ({"scaling": {"min": 11}}, "max must not be less than min"),
    "a maximum of none": ({"scaling": {"max": 0}}, "spec.scaling.max in body should be greater than or equal to 1"),
    "a call without time": ({"callTimeoutSeconds": 0}, "spec.callTimeoutSeconds in body should be greater than"),
    "no quantity": ({"resources": {"limits": {"memory": "much"}}}, "spec.resources.limits.memory"),
    "the operator's variable": (
        {"env": [{"name": "PULSAR_TOKEN", "value": "x"}]},
        "spec.env[0].name: Forbidden: the operator sets this variable itself, from other fields or its own settings",
    ),
    "a variable twice": ({"env": [{"name": "A"}, {"name": "A"}]}, "spec.env[1]: Duplicate value"),
    "a variable from two places": (
        {"env": [{"name": "A", "value": "x", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]},
        "spec.env[0].valueFrom: Forbidden: set one of value and valueFrom, not both",
    ),
    "a variable from nowhere": (
        {"env": [{"name": "A", "valueFrom": {}}]},
        "set one of secretKeyRef and configMapKeyRef",
    ),
    "an unknown field": ({"maxProcesNum": 3}, 'unknown field "spec.maxProcesNum"'),
    "an unknown field in scaling": ({"scaling": {"maximum": 3}}, 'unknown field "spec.scaling.maximum"'),
}


def aimodel(spec: dict[str, Any], name: str = "gpt") -> str:
    """The file that a person writes: JSON, which is YAML. Fields that are None are left out."""
    wanted = {key: value for key, value in spec.items() if value is not None}
    body = {"apiVersion": "model.youxam.com/v1alpha1", "kind": "AIModel", "metadata": {"name": name}, "spec": wanted}
    return json.dumps(body)


@pytest.mark.parametrize("earlier", EARLIER)
async def test_an_aimodel_of_the_earlier_operator_is_taken_as_it_is(
    kubectl: Kubectl, namespace: Namespace, earlier: str
) -> None:
    out, err = await kubectl.both("apply", "-n", namespace.name, "-f", "-", given=aimodel(EARLIER[earlier]))
    assert out == "aimodel.model.youxam.com/gpt created\n"
    assert "unknown field" not in err
    stored = json.loads(await kubectl("get", "aimodel/gpt", "-n", namespace.name, "-o", "json"))["spec"]
    assert EARLIER[earlier].items() <= stored.items()


async def test_what_is_not_said_is_filled_in(kubectl: Kubectl, namespace: Namespace) -> None:
    spec = REMOTE | {"scaling": {}, "apiKeySecretRef": {"name": "openai"}}
    await kubectl("apply", "-n", namespace.name, "-f", "-", given=aimodel(spec))
    stored = json.loads(await kubectl("get", "aim/gpt", "-n", namespace.name, "-o", "json"))["spec"]
    assert stored == REMOTE | {
        "replicas": 1,
        "maxProcessNum": 128,
        "callTimeoutSeconds": 600,
        "apiKeySecretRef": {"name": "openai", "key": "apiKey"},
        "scaling": {"min": 0, "max": 10, "downSeconds": 60, "idleSeconds": 300},
    }


async def test_every_field_is_kept(kubectl: Kubectl, namespace: Namespace) -> None:
    await kubectl("apply", "-n", namespace.name, "-f", "-", given=aimodel(EVERYTHING))
    stored = json.loads(await kubectl("get", "aimodel/gpt", "-n", namespace.name, "-o", "json"))["spec"]
    assert stored == EVERYTHING | {
        "apiKeySecretRef": {"name": "openai", "key": "apiKey"},
        "replicas": 1,
        "maxProcessNum": 128,
    }


@pytest.mark.parametrize("wrong", REFUSED)
async def test_a_wrong_one_is_refused_and_told_why(kubectl: Kubectl, namespace: Namespace, wrong: str) -> None:
    change, says = REFUSED[wrong]
    with pytest.raises(KubectlError) as refused:
        await kubectl("create", "-n", namespace.name, "-f", "-", given=aimodel(REMOTE | change))
    assert says in str(refused.value)
    assert namespace.cluster.ask("GET", path(namespace))["items"] == []


async def test_a_name_that_no_label_holds_is_refused(kubectl: Kubectl, namespace: Namespace) -> None:
    with pytest.raises(KubectlError, match="an AIModel's name has at most 63 characters"):
        await kubectl("create", "-n", namespace.name, "-f", "-", given=aimodel(REMOTE, "m" * 64))
    await kubectl("create", "-n", namespace.name, "-f", "-", given=aimodel(REMOTE, "m" * 63))


async def test_scale_sets_replicas_and_selects_pods(kubectl: Kubectl, namespace: Namespace) -> None:
    await kubectl("apply", "-n", namespace.name, "-f", "-", given=aimodel(REMOTE))
    await kubectl("scale", "aimodel", "gpt", "--replicas=3", "-n", namespace.name)
    status = {"status": {"replicas": 2, "selector": "model.youxam.com/aimodel=gpt"}}
    await patched(kubectl, namespace, status)
    scale = json.loads(await kubectl("get", "--raw", f"{path(namespace)}/gpt/scale"))
    assert scale["spec"] == {"replicas": 3}
    assert scale["status"] == {"replicas": 2, "selector": "model.youxam.com/aimodel=gpt"}
    patch = '{"spec":{"replicas":-1}}'
    with pytest.raises(KubectlError, match="should be greater than or equal to 0"):
        await kubectl("patch", "aimodel", "gpt", "-n", namespace.name, "--type=merge", "-p", patch)


async def test_columns_are_those_that_people_know(kubectl: Kubectl, namespace: Namespace) -> None:
    await kubectl("apply", "-n", namespace.name, "-f", "-", given=aimodel(REMOTE))
    status = {"state": "Pending", "desiredReplicas": 3, "readyReplicas": 1, "backlog": 42, "message": "waits"}
    await patched(kubectl, namespace, {"status": status})
    head, row = (line.split() for line in (await kubectl("get", "aim", "-n", namespace.name)).splitlines())
    assert head == ["NAME", "TYPE", "MODEL", "REPLICAS", "READY", "BACKLOG", "STATE", "AGE"]
    assert row[:-1] == ["gpt", "remote", "gpt-4o", "3", "1", "42", "Pending"]
    wide = (await kubectl("get", "aim", "-n", namespace.name, "-o", "wide")).splitlines()
    assert wide[0].split()[-1] == "MESSAGE"
    assert wide[1].split()[-1] == "waits"


async def test_a_status_that_is_not_one_is_refused(kubectl: Kubectl, namespace: Namespace) -> None:
    await kubectl("apply", "-n", namespace.name, "-f", "-", given=aimodel(REMOTE))
    with pytest.raises(KubectlError, match='supported values: "Pending", "Running", "Idle", "Failed"'):
        await patched(kubectl, namespace, {"status": {"state": "Well"}})


@pytest.mark.parametrize(
    ("field", "says"),
    [
        ("spec.scaling", "up at once, slowly"),
        ("spec.apiKeySecretRef.key", "The key in it."),
        ("status.conditions", "Ready, Progressing, Failed and Scaling"),
    ],
)
async def test_explain_explains(kubectl: Kubectl, field: str, says: str) -> None:
    assert says in await kubectl("explain", f"aimodel.{field}")


async def test_every_field_has_its_meaning(kubectl: Kubectl) -> None:
    definition = json.loads(await kubectl("get", "crd", "aimodels.model.youxam.com", "-o", "json"))
    version = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    for part in ("spec", "status"):
        assert [name for name, field in version[part]["properties"].items() if not field.get("description")] == []


def path(namespace: Namespace) -> str:
    return f"/apis/model.youxam.com/v1alpha1/namespaces/{namespace.name}/aimodels"


async def patched(kubectl: Kubectl, namespace: Namespace, patch: dict[str, Any]) -> None:
    """A status, as the operator would write it."""
    where = ("aimodel", "gpt", "-n", namespace.name, "--subresource=status")
    await kubectl("patch", *where, "--type=merge", "-p", json.dumps(patch))
