"""What the tests' own node agent gives a Pod: environment, files, an account, its order of things."""

from __future__ import annotations

import json

import pytest

from tests.fixtures.control_plane import Node
from tests.fixtures.kubernetes import Namespace
from tests.kubernetes.workloads import Object, Space, container, is_ready, main_of, shell, waiting

pytestmark = [pytest.mark.kubernetes, pytest.mark.xdist_group("kubernetes")]


async def test_the_environment_is_as_the_pod_asks(node: Node, space: Space) -> None:
    space.make("secrets", "s", stringData={"KEY": "k3y", "OTHER": "other"})
    space.make("configmaps", "c", data={"file.txt": "text", "NUMBER": "7"})
    env = [
        {"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "KEY"}}},
        {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "NUMBER"}}},
        {"name": "C", "value": "$(A)-$(B)-$$(A)-$(UNKNOWN)"},
        {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        {"name": "GONE", "valueFrom": {"secretKeyRef": {"name": "s", "key": "NO", "optional": True}}},
        {"name": "FILE", "value": "/etc/config/file.txt"},
        {"name": "HOST", "value": "0.0.0.0"},
    ]
    say = (
        "import json, os, sys; print(json.dumps([dict(os.environ), open(os.environ['FILE']).read(), *sys.argv[1:]]))"
    )
    space.pod(
        "p",
        restartPolicy="Never",
        command=["python", "-c", say],
        args=["$(B)", "$(HOST):1"],
        env=env,
        envFrom=[{"prefix": "S_", "secretRef": {"name": "s"}}],
        volumes=[{"name": "v", "configMap": {"name": "c"}}],
        volumeMounts=[{"name": "v", "mountPath": "/etc/config"}],
    )
    status = await space.told("p", lambda status: status["phase"] == "Succeeded", "the end")
    seen, *told = json.loads(node.log(space.name, "p", "main"))
    wanted = {"A": "k3y", "B": "7", "C": "k3y-7-$(A)-$(UNKNOWN)", "S_OTHER": "other"}
    wanted |= {"NAME": "p", "NODE": node.name, "IP": status["podIP"], "HOSTNAME": "p"}
    assert wanted.items() <= seen.items()
    assert "GONE" not in seen
    assert told == ["text", "7", f"{status['podIP']}:1"]


@pytest.mark.parametrize("wanted", [True, False])
async def test_services_are_told_unless_the_pod_wants_none(node: Node, space: Space, wanted: bool) -> None:
    made = space.make("services", "agentos-gateway", spec={"ports": [{"port": 80}]})
    space.make("services", "headless", spec={"ports": [{"port": 80}], "clusterIP": "None"})
    say = ["python", "-c", "import json, os; print(json.dumps(dict(os.environ)))"]
    space.pod("p", restartPolicy="Never", command=say, enableServiceLinks=wanted)
    await space.told("p", lambda status: status["phase"] == "Succeeded", "the end")
    told = {
        name: value for name, value in json.loads(node.log(space.name, "p", "main")).items() if "_SERVICE" in name
    }
    assert not any(name.startswith("HEADLESS") for name in told)
    links = {"AGENTOS_GATEWAY_SERVICE_HOST": made["spec"]["clusterIP"], "AGENTOS_GATEWAY_SERVICE_PORT": "80"}
    assert {name: value for name, value in told.items() if name.startswith("AGENTOS")} == (links if wanted else {})


async def test_what_a_container_needs_is_waited_for(space: Space) -> None:
    space.pod("p", env=[{"name": "A", "valueFrom": {"secretKeyRef": {"name": "late", "key": "KEY"}}}])
    await space.told("p", lambda status: waiting(status) == "CreateContainerConfigError", "it waits")
    space.make("secrets", "late", stringData={"KEY": "x"})
    await space.told("p", is_ready, "it runs")


async def test_a_pod_reaches_the_api_server_as_its_service_account(
    node: Node, namespace: Namespace, space: Space
) -> None:
    namespace.grant({"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]})
    ask = (
        "from core import cluster; from kubernetes import client; import os; "
        "print(cluster.ask(lambda c: client.CoreV1Api(c).read_namespaced_pod('p', os.environ['N'])).metadata.uid)"
    )
    env = [{"name": "N", "value": space.name}]
    fields = {"image": "agentos", "command": ["python", "-c", ask], "env": env, "restartPolicy": "Never"}
    made = space.pod("p", [], serviceAccountName="worker", **fields)
    await space.told("p", lambda status: status["phase"] in ("Succeeded", "Failed"), "the end")
    assert node.log(space.name, "p", "main").strip() == made["metadata"]["uid"]


async def test_init_containers_run_first_and_one_after_the_other(node: Node, space: Space) -> None:
    mounts = {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    data = {"volumes": [{"name": "data", "emptyDir": {}}], "restartPolicy": "Never"}
    first = container(name="first", command=shell("sleep 0.5; echo one >> /data/file"), **mounts)
    second = container(name="second", command=shell("echo two >> /data/file"), **mounts)
    space.pod("p", [first, second], command=["cat", "/data/file"], **mounts, **data)
    await space.told("p", lambda status: status["phase"] == "Succeeded", "the end")
    assert node.log(space.name, "p", "main").split() == ["one", "two"]
    space.pod("q", [first | {"command": ["false"]}], command=["true"], **mounts, **data)
    status = await space.told("q", lambda status: status["phase"] == "Failed", "the end")
    assert waiting(status) == "PodInitializing"


@pytest.mark.parametrize(
    ("fields", "reason", "said"),
    [
        ({"image": "example.com/unknown:1"}, "ImagePullBackOff", "example.com/unknown:1"),
        ({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}, "NotSupported", "as v is"),
        ({"livenessProbe": {"grpc": {"port": 1}}}, "NotSupported", "probe"),
    ],
)
async def test_what_the_agent_cannot_give_is_said(space: Space, fields: Object, reason: str, said: str) -> None:
    space.pod("p", **fields)
    status = await space.told("p", lambda status: waiting(status) == reason, reason)
    assert said in main_of(status)["state"]["waiting"]["message"]
    assert status["phase"] == "Pending"
