"""Orders of the planner as replicas, on a real API server."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from agentos import scaler, scaler_cluster
from agentos.scaler import Scaler
from agentos.scaler_cluster import set_replicas
from bus import messages
from bus.port import Bus
from bus.scaling import Order
from bus.topics import SCALING_CHANNEL
from core.cluster import ClusterError
from core.run import Stop
from policy.slo.pipeline import Pipeline, Replicas, Stage, Workers, checked
from tests.fixtures.kubernetes import Namespace

pytestmark = [pytest.mark.kubernetes, pytest.mark.xdist_group("kubernetes")]

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0
# The rights of docs/planner.md, and no more.
SCALE_DEPLOYMENTS = {"apiGroups": ["apps"], "resources": ["deployments/scale"], "verbs": ["patch"]}
PATCH_AIMODELS = {"apiGroups": ["model.youxam.com"], "resources": ["aimodels"], "verbs": ["patch"]}


def deployments(namespace: Namespace, name: str = "") -> str:
    return f"/apis/apps/v1/namespaces/{namespace.name}/deployments" + (f"/{name}" if name else "")


def aimodels_of(namespace: Namespace, name: str = "") -> str:
    return f"/apis/model.youxam.com/v1alpha1/namespaces/{namespace.name}/aimodels" + (f"/{name}" if name else "")


@pytest.fixture
def deployment(namespace: Namespace) -> Replicas:
    """A Deployment with one replica, as a worker's."""
    labels = {"app": "worker"}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "worker", "image": "none"}]}}
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": pod}
    namespace.cluster.ask("POST", deployments(namespace), {"metadata": {"name": "dep"}, "spec": spec})
    return Replicas(name="dep", namespace=namespace.name, kind="Deployment")


@pytest.fixture
def aimodel(aimodels: None, namespace: Namespace) -> Replicas:
    """An AIModel with one replica."""
    body = {
        "apiVersion": "model.youxam.com/v1alpha1",
        "kind": "AIModel",
        "metadata": {"name": "gpt"},
        "spec": {"type": "local", "replicas": 1, "model": "m"},
    }
    namespace.cluster.ask("POST", aimodels_of(namespace), body)
    return Replicas(name="gpt", namespace=namespace.name)


@pytest.fixture
def outside(namespace: Namespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(namespace.kubeconfig()))


def pipeline(**replicas: Replicas | None) -> Pipeline:
    stages = [
        Stage(id=id, model=f"m-{id}", profile={1: 0.1}, workers=Workers(most=9), replicas=each)
        for id, each in replicas.items()
    ]
    return checked(Pipeline(name="p", slo_seconds=1.0, stages=stages))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.1)  # what the API server has stored sends no event here


async def order(bus: Bus, **workers: int) -> None:
    message = Order(pipeline="p", workers=workers, at=time.time(), planner="c")
    await bus.send(SCALING_CHANNEL, messages.encode(message))


@pytest.mark.usefixtures("outside")
async def test_orders_become_replicas_of_both_kinds(
    namespace: Namespace, deployment: Replicas, aimodel: Replicas, embedded_bus: Bus
) -> None:
    namespace.grant(SCALE_DEPLOYMENTS, PATCH_AIMODELS)
    scaling = Scaler(embedded_bus, set_replicas, [pipeline(a=deployment, b=aimodel)])
    stop = Stop()
    running = asyncio.create_task(scaling.run(stop))

    def replicas() -> tuple[int, int]:
        of_deployment = namespace.cluster.ask("GET", deployments(namespace, "dep"))["spec"]["replicas"]
        return of_deployment, namespace.cluster.ask("GET", aimodels_of(namespace, "gpt"))["spec"]["replicas"]

    async def ordered(**workers: int) -> None:
        while replicas() != tuple(workers.values()):
            await order(embedded_bus, **workers)  # repeated, as the planner does
            await asyncio.sleep(0.3)

    async with asyncio.timeout(PATIENCE):
        await ordered(a=3, b=2)
        await ordered(a=0, b=9)
    assert namespace.cluster.ask("GET", aimodels_of(namespace, "gpt"))["spec"]["model"] == "m"
    stop.signal()
    await running


@pytest.mark.usefixtures("outside", "deployment")
async def test_what_is_missing_is_said_by_name(namespace: Namespace, deployment: Replicas) -> None:
    with pytest.raises(ClusterError, match=r"the right to patch deployments/scale in .* is missing"):
        await asyncio.to_thread(set_replicas, deployment, 2)
    with pytest.raises(ClusterError, match=r"the right to patch aimodels in .* is missing"):
        await asyncio.to_thread(set_replicas, Replicas(name="gpt", namespace=namespace.name), 2)
    namespace.grant(SCALE_DEPLOYMENTS, PATCH_AIMODELS)
    gone = Replicas(name="gone", namespace=namespace.name, kind="Deployment")
    with pytest.raises(ClusterError, match=f"there is no Deployment {namespace.name}/gone"):
        await asyncio.to_thread(set_replicas, gone, 2)


@pytest.mark.usefixtures("outside", "aimodels")
async def test_an_aimodel_that_is_not_there_is_named(namespace: Namespace) -> None:
    namespace.grant(PATCH_AIMODELS)
    with pytest.raises(ClusterError, match=f"there is no AIModel {namespace.name}/gone"):
        await asyncio.to_thread(set_replicas, Replicas(name="gone", namespace=namespace.name), 2)


@pytest.mark.usefixtures("outside")
async def test_a_kind_that_the_cluster_does_not_know_is_named(
    namespace: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    unknown = {"group": "unknown.example.com", "version": "v1", "plural": "aimodels"}
    monkeypatch.setitem(scaler_cluster._KINDS, "AIModel", unknown)
    namespace.grant(PATCH_AIMODELS | {"apiGroups": ["unknown.example.com"]})
    with pytest.raises(ClusterError, match="the cluster knows no AIModel: its definition is missing"):
        await asyncio.to_thread(set_replicas, Replicas(name="gpt", namespace=namespace.name), 2)


@pytest.mark.usefixtures("outside")
async def test_an_api_server_that_hangs_is_followed_when_it_is_well(
    namespace: Namespace, deployment: Replicas, embedded_bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    namespace.grant(SCALE_DEPLOYMENTS)
    caplog.set_level("INFO", scaler.__name__)
    scaling = Scaler(embedded_bus, set_replicas, [pipeline(a=deployment, b=None)])
    assert "`replicas` is missing, not scaled: b" in caplog.text
    stop = Stop()
    running = asyncio.create_task(scaling.run(stop))
    with namespace.cluster.frozen():
        while "the API server does not answer" not in caplog.text:
            await order(embedded_bus, a=4)
            await asyncio.sleep(0.2)
    await until(lambda: "Deployment " in caplog.text and "dep: 4 replicas" in caplog.text)
    assert namespace.cluster.ask("GET", deployments(namespace, "dep"))["spec"]["replicas"] == 4
    stop.signal()
    await running


@pytest.mark.usefixtures("outside", "deployment")
async def test_pipelines_that_come_later_are_followed(
    namespace: Namespace, deployment: Replicas, embedded_bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scaler, "LOOK_SECONDS", 0.2)
    namespace.grant(SCALE_DEPLOYMENTS)
    known: list[Pipeline] = []

    async def look() -> list[Pipeline]:
        return list(known)

    stop = Stop()
    running = asyncio.create_task(Scaler(embedded_bus, set_replicas, []).run(stop, look))
    await order(embedded_bus, a=2)
    known.append(pipeline(a=deployment))
    async with asyncio.timeout(PATIENCE):
        while namespace.cluster.ask("GET", deployments(namespace, "dep"))["spec"]["replicas"] != 2:
            await order(embedded_bus, a=2)
            await asyncio.sleep(0.2)
    stop.signal()
    await running


async def test_as_a_program_it_follows_and_ends_by_a_signal(
    namespace: Namespace, deployment: Replicas, empty_database: str, embedded_bus: Bus, tmp_path: Path
) -> None:
    namespace.grant(SCALE_DEPLOYMENTS)
    file = tmp_path / "p.yaml"
    replicas = {"name": deployment.name, "namespace": deployment.namespace, "kind": "Deployment"}
    body = {"messages": [{"role": "user", "content": "${{ input }}"}]}
    stage = {"id": "a", "model": f"m-{uuid.uuid4().hex}", "profile": {"1": 0.1}, "replicas": replicas, "body": body}
    file.write_text(json.dumps({"name": "p", "slo_seconds": 1.0, "stages": [stage]}))
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AGENTOS_", "PULSAR_"))}
    environment |= {"KUBECONFIG": str(namespace.kubeconfig()), "AGENTOS_BUS_URL": empty_database}
    command = [sys.executable, "-m", "agentos", "scaler", "--pipeline", str(file)]
    program = await asyncio.create_subprocess_exec(*command, cwd=ROOT, env=environment, stderr=subprocess.PIPE)
    try:
        async with asyncio.timeout(PATIENCE):
            while namespace.cluster.ask("GET", deployments(namespace, "dep"))["spec"]["replicas"] != 5:
                assert program.returncode is None
                await order(embedded_bus, a=5)
                await asyncio.sleep(0.2)
        program.terminate()
        _, said = await program.communicate()
        assert program.returncode == 0
        assert f"Deployment {namespace.name}/dep: 5 replicas" in said.decode()
    finally:
        if program.returncode is None:
            program.kill()
            await program.wait()


def test_without_a_cluster_it_says_so() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AGENTOS_", "KUBE"))}
    command = [sys.executable, "-m", "agentos", "scaler"]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    assert "there is no cluster" in ended.stderr
