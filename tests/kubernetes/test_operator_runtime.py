"""The operator as a process, on a real API server with Kubernetes' controllers: no Node is needed."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from tests.kubernetes.operator_process import Bench, Object
from tests.kubernetes.workloads import until

pytestmark = [pytest.mark.kubernetes, pytest.mark.xdist_group("kubernetes")]

CHILDREN = {"secrets": "credentials", "serviceaccounts": "worker", "rolebindings": "worker-events"}


def replicas_of(bench: Bench, name: str) -> int | None:
    found = bench.find("deployments", f"{name}-deployment")
    return None if found is None else int(found["spec"]["replicas"])


def warning(bench: Bench, name: str, kind: str = "Warning", reason: str = "AuthenticationError") -> None:
    """What a worker tells of."""
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    about = {"apiVersion": "model.youxam.com/v1alpha1", "kind": "AIModel", "name": name, "namespace": bench.namespace}
    body = {
        "metadata": {"generateName": f"{name}."},
        "involvedObject": about,
        "type": kind,
        "reason": reason,
        "message": "The key is refused.",
        "source": {"component": "agentos-worker"},
        "firstTimestamp": at,
        "lastTimestamp": at,
    }
    bench.cluster.ask("POST", bench.path("events"), body)


async def test_an_aimodel_gets_what_belongs_to_it(bench: Bench) -> None:
    operator = bench.operator()
    bench.make("gpt", apiKey="sk-hidden")
    status = await bench.state("gpt", "Idle")
    assert status["desiredReplicas"] == 0
    deployment = bench.find("deployments", "gpt-deployment")
    assert deployment is not None
    assert "sk-hidden" not in str(deployment)
    for plural, suffix in CHILDREN.items():
        child = bench.find(plural, f"gpt-{suffix}")
        assert child is not None, plural
        assert [owner["name"] for owner in child["metadata"]["ownerReferences"]] == ["gpt"]
    await until(lambda: bench.events("gpt") == [("Created", "Deployment gpt-deployment, replicas: 0")], "it is told")
    await operator.ready()
    assert await operator.stopped() == 0
    assert "sk-hidden" not in operator.log()
    assert "AIModels stay as they are until the broker is there" in operator.log()


async def test_what_others_change_is_mended_and_what_is_well_is_left_alone(bench: Bench) -> None:
    operator = bench.operator()
    bench.make("gpt", replicas=2)
    await bench.state("gpt", "Pending")
    bench.cluster.ask("DELETE", bench.path("deployments", "gpt-deployment"))
    await until(lambda: replicas_of(bench, "gpt") == 2, "a deleted Deployment is made again")

    bench.change("deployments", "gpt-deployment", lambda found: found["spec"].update(replicas=5))
    await until(lambda: replicas_of(bench, "gpt") == 2, "the number is as it is to be")

    def unlabel(found: Object) -> None:
        del found["metadata"]["labels"]["app.kubernetes.io/managed-by"]

    def labels() -> Any:
        found = bench.find("deployments", "gpt-deployment")
        return found and found["metadata"]["labels"]

    bench.change("deployments", "gpt-deployment", unlabel)
    await until(lambda: "app.kubernetes.io/managed-by" in labels(), "its label is there again")

    status = f"{bench.path('aimodels', 'gpt')}/status"
    found = bench.cluster.ask("GET", status)
    bench.cluster.ask("PUT", status, found | {"status": found["status"] | {"state": "Running"}})
    await bench.state("gpt", "Pending")

    await until(lambda: operator.metric("agentos_operator_queue") == 0, "nothing is left to do")
    calls = operator.metric("agentos_operator_applied_total")
    versions = [bench.cluster.ask("GET", bench.path("aimodels", "gpt"))["metadata"]["resourceVersion"]]
    await asyncio.sleep(3)  # nothing is to happen
    versions.append(bench.cluster.ask("GET", bench.path("aimodels", "gpt"))["metadata"]["resourceVersion"])
    assert versions[0] == versions[1]
    assert operator.metric("agentos_operator_applied_total") == calls


async def test_a_change_reaches_the_deployment_and_a_deleted_aimodel_takes_all_with_it(bench: Bench) -> None:
    bench.operator()
    bench.make("gpt", replicas=1)
    await bench.state("gpt", "Pending")

    def change(found: Object) -> None:
        found["spec"] |= {"image": "registry.example.com/other:2", "replicas": 0}

    bench.change("aimodels", "gpt", change)
    await bench.state("gpt", "Idle")
    deployment = bench.find("deployments", "gpt-deployment")
    assert deployment is not None
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "registry.example.com/other:2"
    await until(lambda: ("Scaled", "replicas: 1 → 0") in bench.events("gpt"), "it is told")

    for policy in ("Foreground", "Background"):
        options = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": policy}
        bench.cluster.ask("DELETE", bench.path("aimodels", "gpt"), options)
        await until(lambda: bench.find("deployments", "gpt-deployment") is None, "the Deployment goes")
        await until(lambda: bench.find("secrets", "gpt-credentials") is None, "the Secret goes")
        await until(lambda: bench.find("aimodels", "gpt") is None, "the AIModel goes")
        # Another one of the same name.
        bench.make("gpt")
        await bench.state("gpt", "Idle")


async def test_one_that_the_api_server_refuses_fails_by_name_and_the_others_go_on(bench: Bench) -> None:
    bench.operator()
    bench.make("refused", nodeSelector={"disk": "no such value!"})
    bench.make("well")
    await bench.state("well", "Idle")
    message = (await bench.state("refused", "Failed"))["message"]
    assert message.startswith("ConfigurationError: Deployment refused-deployment: status 422")
    assert "no such value!" in message
    bench.change("aimodels", "refused", lambda found: found["spec"].update(nodeSelector={"disk": "ssd"}))
    await bench.state("refused", "Idle")

    def reasons() -> list[str]:
        return [reason for reason, _ in bench.events("refused")]

    await until(lambda: "Recovered" in reasons() and "Created" in reasons(), "it is told")
    assert sorted(reasons()) == ["Created", "Failed", "Recovered"]


async def test_what_workers_tell_is_the_state_and_a_new_operator_knows_it(bench: Bench) -> None:
    first = bench.operator()
    bench.make("gpt", replicas=1)
    await bench.state("gpt", "Pending")
    warning(bench, "gpt")
    status = await bench.state("gpt", "Failed")
    assert status["message"] == "AuthenticationError: The key is refused."
    await until(lambda: ("Failed", status["message"]) in bench.events("gpt"), "it is told")
    await first.stopped()
    events = bench.cluster.ask("GET", bench.path("events"))["items"]
    for each in events:
        if each["source"].get("component") == "agentos-worker":
            bench.cluster.ask("DELETE", bench.path("events", each["metadata"]["name"]))

    second = bench.operator()
    await second.ready()
    await until(lambda: second.metric("agentos_operator_reconciled_total") > 0, "it has looked")
    assert (await bench.state("gpt", "Failed"))["message"] == status["message"]
    warning(bench, "gpt", "Normal", "Recovered")
    await bench.state("gpt", "Pending")
    # The operator's own Event about it was not taken for one of a worker.
    await until(lambda: "Recovered" in [reason for reason, _ in bench.events("gpt")], "it is told")
    assert bench.status("gpt")["state"] == "Pending"


async def test_an_operator_that_is_killed_in_the_middle_leaves_nothing_undone(bench: Bench) -> None:
    names = [f"m{number}" for number in range(30)]
    first = bench.operator()
    await first.ready()
    for name in names:
        bench.make(name)
    await until(lambda: any(bench.status(name) for name in names), "it has begun")
    first.kill()
    bench.operator()
    for name in names:
        await bench.state(name, "Idle")
        assert bench.find("deployments", f"{name}-deployment") is not None


async def test_an_api_server_that_hangs_is_waited_for(bench: Bench) -> None:
    operator = bench.operator()
    bench.make("gpt")
    await bench.state("gpt", "Idle")
    with bench.cluster.frozen():
        await until(lambda: operator.ask("/ready")[0] == 503, "it is not ready")
        await until(lambda: not operator.leads(), "it leads no more")
        assert operator.ask("/health")[0] == 200
    bench.change("aimodels", "gpt", lambda found: found["spec"].update(replicas=2))
    await until(lambda: replicas_of(bench, "gpt") == 2, "it goes on")
    await operator.ready()
    assert operator.ask("/health")[0] == 200
    assert operator.process.poll() is None


@pytest.mark.usefixtures("keda")
async def test_keda_is_handed_the_replicas_and_gives_them_back(bench: Bench) -> None:
    connections = {"AGENTOS_BUS_URL": "", "PULSAR_URL": "pulsar://127.0.0.1:1", "PULSAR_TOKEN": "broker-token"}
    bench.operator(connections | {"PULSAR_ADMIN_URL": "http://127.0.0.1:1", "AGENTOS_RESYNC_SECONDS": "2"})
    bench.make("gpt", replicas=2)
    await bench.state("gpt", "Pending")
    assert replicas_of(bench, "gpt") == 2
    assert bench.find("scaledobjects", "gpt-scaledobject") is None

    bench.change("aimodels", "gpt", lambda found: found["spec"].update(msgBacklogThreshold=5))
    await until(lambda: bench.find("scaledobjects", "gpt-scaledobject"), "KEDA is asked")
    assert bench.find("triggerauthentications", "gpt-broker") is not None

    def scaling() -> Any:
        conditions = bench.status("gpt").get("conditions", [])
        return next((each["reason"] for each in conditions if each["type"] == "Scaling"), "")

    await until(lambda: scaling() == "KEDA", "it is said")
    assert replicas_of(bench, "gpt") == 2  # not reset
    bench.change("deployments", "gpt-deployment", lambda found: found["spec"].update(replicas=4))
    bench.change("aimodels", "gpt", lambda found: found["spec"].update(image="registry.example.com/new:1"))

    def image() -> Any:
        found = bench.find("deployments", "gpt-deployment")
        return found and found["spec"]["template"]["spec"]["containers"][0]["image"]

    await until(lambda: image() == "registry.example.com/new:1", "a change comes through")
    assert replicas_of(bench, "gpt") == 4
    await until(lambda: bench.status("gpt").get("desiredReplicas") == 4, "what KEDA wants is shown")

    bench.change("aimodels", "gpt", lambda found: found["spec"].pop("msgBacklogThreshold"))
    await until(lambda: bench.find("scaledobjects", "gpt-scaledobject") is None, "KEDA is asked no more")
    await until(lambda: replicas_of(bench, "gpt") == 2, "the AIModel says how many")
    assert bench.find("triggerauthentications", "gpt-broker") is None

    # A new one is KEDA's from its first moment.
    bench.make("new", replicas=3, msgBacklogThreshold=5)
    await until(lambda: bench.find("scaledobjects", "new-scaledobject"), "KEDA is asked")
    await bench.state("new", "Idle")
    assert replicas_of(bench, "new") == 0
    bench.change("deployments", "new-deployment", lambda found: found["spec"].update(replicas=1))
    await until(lambda: bench.status("new").get("desiredReplicas") == 1, "what KEDA wants is shown")
    await asyncio.sleep(3)  # nothing is to happen
    assert replicas_of(bench, "new") == 1
