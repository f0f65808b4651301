"""Events of workers on a real API server: with the rights of their Pods, and without them."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from agentos.parts.pulsar import free_ports
from bus.messages import NodeEvent, decode_event
from bus.port import Bus
from core.errors import BusRefused, ConfigurationError, PartError
from tests.double import scripts
from tests.double.server import Provider
from tests.fixtures.kubernetes import Namespace
from tests.workernode.road import Road
from workernode import kubernetes_events
from workernode.backends import make_backend
from workernode.kubernetes_events import KubernetesEvents, Notice
from workernode.management import Management, report_failed_start
from workernode.settings import WorkerSettings

pytestmark = [pytest.mark.kubernetes, pytest.mark.xdist_group("kubernetes")]

ROOT = Path(__file__).parents[2]
TOPIC = "results"
# The rights that the service account of a worker's Pod has: no more.
CREATE_EVENTS = {"apiGroups": [""], "resources": ["events"], "verbs": ["create"]}
QUOTA = Notice("Warning", "APIQuotaExceededError", "The quota is used up.", 1_700_000_000.9, 1_700_000_060.0)


def settings(namespace: Namespace, **fields: Any) -> WorkerSettings:
    return WorkerSettings(
        **{"node_type": "mock", "model_name": "m", "bus_url": "x", "res_topic_name": TOPIC}
        | {"aimodel_name": "gpt", "aimodel_namespace": namespace.name}
        | fields
    )


@pytest.fixture
def in_pod(namespace: Namespace, monkeypatch: pytest.MonkeyPatch) -> KubernetesEvents:
    """As in a Pod: the API server's address in the environment, the token in files."""
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(namespace.cluster.port))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    return KubernetesEvents("gpt", namespace.name, account=namespace.account())


@pytest.fixture
def outside(namespace: Namespace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside of the cluster, with a KUBECONFIG."""
    monkeypatch.setenv("KUBECONFIG", str(namespace.kubeconfig()))


def shown(event: dict[str, Any]) -> tuple[str, str, str]:
    return event["type"], event["reason"], event["message"]


async def test_who_may_only_create_events_reports_as_the_contract_says(
    namespace: Namespace, in_pod: KubernetesEvents
) -> None:
    namespace.grant(CREATE_EVENTS)
    await in_pod.report(QUOTA)
    [event] = namespace.events()
    assert event["involvedObject"] == {
        "kind": "AIModel",
        "namespace": namespace.name,
        "name": "gpt",
        "apiVersion": "model.youxam.com/v1alpha1",
    }
    assert shown(event) == ("Warning", "APIQuotaExceededError", "The quota is used up.")
    assert event["source"]["component"] == "agentos-worker"
    assert (event["firstTimestamp"], event["lastTimestamp"]) == ("2023-11-14T22:13:20Z", "2023-11-14T22:14:20Z")
    assert event["metadata"]["name"].startswith("gpt.")


async def test_without_rights_it_is_logged_once_and_life_goes_on(
    namespace: Namespace, in_pod: KubernetesEvents, caplog: pytest.LogCaptureFixture
) -> None:
    began = time.monotonic()
    await in_pod.report(QUOTA)
    assert time.monotonic() - began < 3  # it is hopeless: no second try
    assert namespace.events() == []
    [line] = [record.getMessage() for record in caplog.records if record.name == kubernetes_events.__name__]
    assert "may not create Events" in line
    assert "docs/management.md" in line


async def test_an_api_server_that_hangs_hears_of_it_when_it_is_well(
    namespace: Namespace, in_pod: KubernetesEvents, caplog: pytest.LogCaptureFixture
) -> None:
    namespace.grant(CREATE_EVENTS)
    with namespace.cluster.frozen():
        reporting = asyncio.create_task(in_pod.report(QUOTA))
        async with asyncio.timeout(20):
            while "the API server does not answer" not in caplog.text:  # noqa: ASYNC110
                await asyncio.sleep(0.02)  # a log sends no event
    await asyncio.wait_for(reporting, 30)
    assert [shown(event) for event in namespace.events()] == [("Warning", QUOTA.reason, QUOTA.message)]


@pytest.mark.usefixtures("outside")
async def test_each_state_is_told_once_on_both_ways_and_in_order(namespace: Namespace, embedded_bus: Bus) -> None:
    namespace.grant(CREATE_EVENTS)
    subscription = await embedded_bus.subscribe(TOPIC, "test", window=10)
    management = Management(embedded_bus, settings(namespace), "worker-1")
    since = time.time() - 60
    told = [
        management.event("unavailable", "AuthenticationError", "The key is refused.", since=since),
        management.event("recovered", "AuthenticationError", "The worker serves again.", since=since),
    ]
    await asyncio.gather(*map(management.tell, told))
    assert [shown(event) for event in namespace.events()] == [
        ("Warning", "AuthenticationError", "The key is refused."),
        ("Normal", "Recovered", "The worker serves again."),
    ]
    heard: list[Any] = []
    async with asyncio.timeout(20):
        while len(heard) < 2:
            heard += [decode_event(delivery.body) for delivery in await subscription.receive()]
    assert heard == told
    assert isinstance(heard[0], NodeEvent)
    assert (heard[0].ai_model_name, heard[0].since, heard[0].usage.total_tokens) == ("gpt", since, 0)


@pytest.mark.usefixtures("outside")
async def test_however_many_requests_meet_it_a_state_is_one_event(
    namespace: Namespace, embedded_bus: Bus, provider: Provider
) -> None:
    namespace.grant(CREATE_EVENTS)
    provider.script(*[scripts.BAD_KEY] * 4)
    remote = settings(namespace, node_type="remote", api_url=provider.url, api_key="sk-test-0123456789")
    backend = make_backend(remote)
    await backend.start()
    road = Road(embedded_bus, backend, remote)
    await road.start()
    living = asyncio.create_task(road.live())
    await road.present()
    for number in range(8):
        await road.send(request_id=f"r{number}", data={"model": "m", "messages": []})
    told: list[str] = []
    while "recovered" not in told:
        event = await road.event()
        told += [event.event] if isinstance(event, NodeEvent) else []
    async with asyncio.timeout(20):
        while len(namespace.events()) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.1)  # what the API server has stored sends no event here
    road.stop.signal()
    await living
    await backend.close()
    assert told == ["unavailable", "recovered"]
    assert [shown(event)[:2] for event in namespace.events()] == [
        ("Warning", "AuthenticationError"),
        ("Normal", "Recovered"),
    ]


@pytest.mark.usefixtures("outside")
@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConfigurationError("AGENTOS_MODEL_FILE: /x: No such file"), "ConfigurationError"),
        (BusRefused("the token is wrong"), "MessageQueueConnectionError"),
        (PartError("its process ended with 1"), "GeneralError"),
    ],
)
async def test_a_worker_that_cannot_start_says_why(namespace: Namespace, error: Any, reason: str) -> None:
    namespace.grant(CREATE_EVENTS)
    await report_failed_start(settings(namespace), error)
    [event] = namespace.events()
    assert shown(event) == ("Warning", reason, f"The worker does not serve: {error}")


@pytest.mark.parametrize(
    ("environment", "code", "reason", "said"),
    [
        ({"NODE_TYPE": "remote"}, 2, "ConfigurationError", "API_URL"),
        ({"NODE_TYPE": "local", "AGENTOS_MODEL_FILE": "/no/model.gguf"}, 1, "ConfigurationError", "/no/model.gguf"),
        ({"NODE_TYPE": "mock"}, 1, "MessageQueueConnectionError", "cannot be reached"),
    ],
)
def test_a_process_that_cannot_start_says_why_and_ends(
    namespace: Namespace, environment: dict[str, str], code: int, reason: str, said: str
) -> None:
    namespace.grant(CREATE_EVENTS)
    [port] = free_ports(1)
    common = {
        "MODEL_NAME": "m",
        "AGENTOS_BUS_URL": f"postgresql://u@127.0.0.1:{port}/x",
        "PORT": "0",
        "AIMODEL_NAME": "gpt",
        "AIMODEL_NAMESPACE": namespace.name,
        "KUBECONFIG": str(namespace.kubeconfig()),
        "PATH": os.environ["PATH"],
    }
    worker = [sys.executable, "-m", "agentos", "worker"]
    ended = subprocess.run(worker, cwd=ROOT, env=common | environment, capture_output=True, text=True, timeout=60)
    assert ended.returncode == code, ended.stderr
    [event] = namespace.events()
    assert shown(event)[:2] == ("Warning", reason)
    assert said in event["message"]


@pytest.mark.usefixtures("outside")
async def test_wrong_settings_are_told_of_the_aimodel_in_the_environment(
    namespace: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    namespace.grant(CREATE_EVENTS)
    monkeypatch.setenv("AIMODEL_NAME", "gpt")
    monkeypatch.setenv("AIMODEL_NAMESPACE", namespace.name)
    await report_failed_start(None, ConfigurationError("API_URL: is missing"))
    assert shown(namespace.events()[0])[1] == "ConfigurationError"


@pytest.mark.usefixtures("outside")
async def test_a_worker_that_is_no_aimodels_tells_kubernetes_nothing(namespace: Namespace, embedded_bus: Bus) -> None:
    namespace.grant(CREATE_EVENTS)
    management = Management(embedded_bus, settings(namespace, aimodel_name=""), "worker-1")
    await management.tell(management.event("unavailable", "GeneralError", "It is broken.", since=0))
    await report_failed_start(settings(namespace, aimodel_name=""), PartError("x"))
    assert namespace.events() == []
