"""Node events on the result topic. Kubernetes has its own tests, on a real API server: tests/kubernetes."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from bus.messages import NO_USAGE, decode_event
from bus.port import Bus
from core.cluster import cluster_at_hand
from core.errors import BlobMissing, BusClosed, BusUnavailable, ConfigurationError, PartError
from workernode.management import Management, reason_of
from workernode.settings import WorkerSettings

TOPIC = "results"
SETTINGS = WorkerSettings(
    node_type="mock", model_name="m", bus_url="x", res_topic_name=TOPIC, aimodel_name="gpt", aimodel_namespace="ns"
)


async def test_what_is_told_is_on_the_result_topic_in_order(embedded_bus: Bus) -> None:
    subscription = await embedded_bus.subscribe(TOPIC, "test", window=10)
    management = Management(embedded_bus, SETTINGS, "worker-1")
    told = [
        management.event("unavailable", "APIQuotaExceededError", "The quota is used up.", since=1.5),
        management.event("recovered", "APIQuotaExceededError", "It serves again.", since=1.5),
    ]
    await asyncio.gather(*map(management.tell, told))
    heard: list[object] = []
    async with asyncio.timeout(20):
        while len(heard) < 2:
            heard += [decode_event(delivery.body) for delivery in await subscription.receive()]
    assert heard == told
    first = told[0]
    assert (first.node, first.model, first.ai_model_name, first.ai_model_namespace) == ("worker-1", "m", "gpt", "ns")
    assert (first.request_id, first.usage, first.since) == ("", NO_USAGE, 1.5)
    assert abs(first.at - time.time()) < 60
    assert told[0].event_id != told[1].event_id


async def test_a_bus_that_is_closed_is_no_reason_to_wait(embedded_bus: Bus) -> None:
    management = Management(embedded_bus, SETTINGS, "worker-1")
    await embedded_bus.close()
    with pytest.raises(BusClosed):
        await management.tell(management.event("unavailable", "GeneralError", "It is broken.", since=0))


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConfigurationError("x"), "ConfigurationError"),
        (BusUnavailable("x"), "MessageQueueConnectionError"),
        (BlobMissing("x"), "MessageQueueConnectionError"),
        (PartError("x"), "GeneralError"),
    ],
)
def test_an_error_is_one_of_managements_reasons(error: ConfigurationError, reason: str) -> None:
    assert reason_of(error) == reason


@pytest.mark.parametrize(
    ("environ", "account", "at_hand"),
    [
        ({}, True, False),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, False, False),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, True, True),
        ({"KUBECONFIG": "/x"}, False, True),
        ({"KUBECONFIG": ""}, False, False),
    ],
)
def test_a_cluster_is_at_hand_in_a_pod_or_by_kubeconfig(
    environ: dict[str, str], account: bool, at_hand: bool, tmp_path: Path
) -> None:
    if account:
        (tmp_path / "token").write_text("t")
    assert cluster_at_hand(environ, tmp_path) is at_hand
