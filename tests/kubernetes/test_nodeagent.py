"""The tests' own node agent under Kubernetes' own controllers: Pods live as on a kubelet."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.error
from functools import partial
from typing import Any

import psutil
import pytest

from tests.fixtures.control_plane import Node
from tests.fixtures.kubernetes import NODES, Cluster
from tests.kubernetes.workloads import Object, Space, get, is_ready, main_of, probe, shell, until, waiting

pytestmark = [pytest.mark.kubernetes, pytest.mark.xdist_group("kubernetes")]


async def test_a_deployment_becomes_available_and_is_scaled_up_and_down(space: Space) -> None:
    space.deployment("web", 2, env=[{"name": "VERSION", "value": "1"}])
    await space.available("web", 2)
    addresses = [pod["status"]["podIP"] for pod in space.pods()]
    assert len(set(addresses)) == 2
    assert [await get(address) for address in addresses] == [(200, "1")] * 2
    for replicas in (4, 1, 0):
        space.scale("web", replicas)
        await space.available("web", replicas)
        assert len(space.pods()) == replicas


async def test_a_rollout_takes_no_pod_away_before_its_successor_is_ready(node: Node, space: Space) -> None:
    made = space.deployment("web", 2, env=[{"name": "VERSION", "value": "1"}])
    await space.available("web", 2)
    before = space.find("deployments", "web") or made

    def change(found: Object) -> None:
        found["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "VERSION", "value": "2"}]

    space.change("deployments", "web", change)
    await space.available("web", 2)
    history = node.cluster.history(space.path("deployments"), before)
    assert {each["status"].get("updatedReplicas") for each in history} >= {1, 2}
    assert min(each["status"].get("availableReplicas", 0) for each in history) == 2
    assert max(each["status"].get("unavailableReplicas", 0) for each in history) == 1
    await until(lambda: len(space.pods()) == 2, "the old ones are gone")
    assert [await get(pod["status"]["podIP"]) for pod in space.pods()] == [(200, "2")] * 2


async def test_a_container_that_crashes_is_restarted_with_longer_and_longer_pauses(node: Node, space: Space) -> None:
    space.pod("p", command=shell("date +%s.%N; exit 3"))
    status = await space.told("p", lambda status: main_of(status)["restartCount"] >= 3, "restarts")
    await space.told("p", lambda status: waiting(status) == "CrashLoopBackOff", "back-off")
    assert main_of(status)["lastState"]["terminated"]["exitCode"] == 3
    assert status["phase"] == "Running"
    starts = [float(line) for line in node.log(space.name, "p", "main").split()]
    assert [starts[number + 1] - starts[number] >= 2**number for number in range(3)] == [True] * 3


async def test_a_container_that_is_not_alive_is_ended_and_started_again(node: Node, space: Space) -> None:
    space.pod("p", livenessProbe=probe(failureThreshold=2), startupProbe=probe(failureThreshold=60))
    status = await space.told("p", is_ready, "ready")
    await get(status["podIP"], "/break")
    await space.told("p", lambda status: main_of(status)["restartCount"] == 1 and is_ready(status), "a restart")
    assert node.log(space.name, "p", "main").split() == ["serving", "draining", "drained", "serving"]
    assert await get(status["podIP"], "/health") == (200, "")


async def test_what_never_starts_is_ended_by_the_startup_probe(space: Space) -> None:
    never = {"exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 2, "timeoutSeconds": 10}
    space.pod("p", startupProbe=never, livenessProbe=probe())
    status = await space.told("p", lambda status: main_of(status)["restartCount"] >= 1, "a restart")
    assert not main_of(status)["started"]
    assert not is_ready(status)


async def test_readiness_comes_and_goes_without_a_restart(space: Space, tmp_path: Any) -> None:
    sign = tmp_path / "ready"
    command = {"exec": {"command": ["test", "-e", str(sign)]}, "periodSeconds": 1, "timeoutSeconds": 10}
    space.pod("p", readinessProbe=command | {"failureThreshold": 2})
    assert not is_ready(await space.told("p", lambda status: main_of(status).get("started"), "started"))
    sign.touch()
    await space.told("p", is_ready, "ready")
    sign.unlink()
    status = await space.told("p", lambda status: not is_ready(status), "not ready")
    assert main_of(status)["restartCount"] == 0


async def test_a_pod_that_is_deleted_may_take_its_time(node: Node, space: Space) -> None:
    hook = {"preStop": {"exec": {"command": shell("echo preStop")}}}
    space.pod("p", lifecycle=hook, env=[{"name": "DRAIN_SECONDS", "value": "2"}], readinessProbe=probe())
    await space.told("p", is_ready, "ready")
    began = time.monotonic()
    space.delete("pods", "p")
    await space.gone("p")
    assert 2 <= time.monotonic() - began < 25  # the grace period is 30 s
    assert node.log(space.name, "p", "main").split() == ["serving", "preStop", "draining", "drained"]


async def test_a_pod_that_takes_longer_is_killed_with_all_that_it_started(node: Node, space: Space) -> None:
    space.pod("p", command=shell("trap '' TERM; sleep 7001 & echo $!; wait; sleep 7002"))
    await until(lambda: node.log(space.name, "p", "main").strip(), "a child")
    child = int(node.log(space.name, "p", "main"))
    space.delete("pods", "p", gracePeriodSeconds=1)
    await space.gone("p")
    await until(lambda: not psutil.pid_exists(child), "the child is dead")


async def test_what_a_container_leaves_running_ends_with_it(node: Node, space: Space) -> None:
    space.pod("p", command=shell("sleep 7003 & echo $!"), restartPolicy="Never")
    await space.told("p", lambda status: status["phase"] == "Succeeded", "the end")
    child = int(node.log(space.name, "p", "main"))
    await until(lambda: not psutil.pid_exists(child), "the child is dead")


@pytest.mark.parametrize("graces", [(600, 1), (600, 0), (0,)])
async def test_a_shorter_grace_and_no_grace_hurry(space: Space, graces: tuple[int, ...]) -> None:
    space.pod("p", env=[{"name": "DRAIN_SECONDS", "value": "1000"}], readinessProbe=probe())
    status = await space.told("p", is_ready, "ready")
    for grace in graces:
        space.delete("pods", "p", gracePeriodSeconds=grace)
    await space.gone("p")
    await until(partial(refuses, status["podIP"]), "its process has ended")


async def answers(space: Space, pod: str) -> bool:
    return not await refuses((space.find("pods", pod) or {})["status"]["podIP"])


async def refuses(address: str) -> bool:
    try:
        await get(address)
    except OSError:
        return True
    return False


async def test_a_service_leads_to_the_pods_that_it_selects_and_that_are_ready(space: Space) -> None:
    ports = [{"port": 80, "targetPort": "http"}]
    space.make("services", "web", spec={"selector": {"app": "web"}, "ports": ports})
    space.deployment("web", 2, ports=[{"name": "http", "containerPort": 8080}])
    space.pod("other", readinessProbe=probe())
    await space.told("other", is_ready, "ready")
    await space.available("web", 2)
    assert [await get(address, port=port) for address, port in space.endpoints("web")] == [(200, "")] * 2
    [(broken, _), *_] = space.endpoints("web")
    await get(broken, "/break")
    await until(lambda: len(space.endpoints("web")) == 1, "the broken one is left out")


def test_a_restricted_namespace_refuses_a_privileged_pod(space: Space) -> None:
    level = {"pod-security.kubernetes.io/enforce": "restricted"}
    space.cluster.ask("POST", "/api/v1/namespaces", {"metadata": {"name": f"r-{space.name}", "labels": level}})
    restricted = Space(space.cluster, f"r-{space.name}")
    with pytest.raises(urllib.error.HTTPError) as refused:
        restricted.pod("p", securityContext={"privileged": True})
    assert refused.value.code == 403
    said = json.load(refused.value)["message"]
    assert 'violates PodSecurity "restricted:latest": privileged' in said


async def test_an_api_server_that_hangs_costs_no_pod(node: Node, space: Space) -> None:
    space.pod("p", livenessProbe=probe(), readinessProbe=probe())
    status = await space.told("p", is_ready, "ready")
    with node.cluster.frozen():
        await asyncio.sleep(3)  # some probes and beats of the Node
        assert await get(status["podIP"]) == (200, "")
    space.pod("q", readinessProbe=probe())
    await space.told("q", is_ready, "ready")
    assert main_of((space.find("pods", "p") or {})["status"])["restartCount"] == 0


@pytest.mark.long
@pytest.mark.timeout(240)
async def test_nodes_that_are_not_heard_of_are_not_ready_until_they_are_back(
    control_plane: Cluster, space: Space
) -> None:
    nodes = [Node(control_plane, name, unschedulable=True) for name in NODES[1:]]
    with nodes[0] as stopped, nodes[1] as cut_off:
        for node in nodes:
            space.pod(node.name, nodeName=node.name, readinessProbe=probe())
        ended, lives = [(await space.told(node.name, is_ready, "ready"))["podIP"] for node in nodes]
        stopped.stop()
        assert await refuses(ended)
        with cut_off.frozen():
            for node in nodes:
                await until(partial(is_unknown, node), "the Node is not ready")
                await space.told(node.name, lambda status: not is_ready(status), "the Pod is not ready")
            assert await get(lives) == (200, "")
        stopped.start()
        for node in nodes:
            status = await space.told(node.name, is_ready, "ready again")
            assert main_of(status)["restartCount"] == 0
        assert status["podIP"] == lives


def is_unknown(node: Node) -> bool:
    return node.ready() == "Unknown"


async def test_an_agent_that_is_killed_takes_its_pods_processes_along(control_plane: Cluster, space: Space) -> None:
    with Node(control_plane, NODES[2], unschedulable=True) as lost:
        space.pod("p", nodeName=lost.name, readinessProbe=probe())
        status = await space.told("p", is_ready, "ready")
        lost.kill()
        await until(lambda: refuses(status["podIP"]), "its process has ended")
        lost.start()
        await until(lambda: answers(space, "p"), "it runs again")
        space.delete("pods", "p")
        await space.gone("p")
