"""Where KEDA is installed it drives the replicas of those who ask for it; the operator leaves them alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from bus.topics import model_subscription
from tests.double.server import Provider
from tests.kubernetes.operators import Home
from tests.kubernetes.workloads import Object

pytestmark = [
    pytest.mark.kubernetes,
    pytest.mark.pulsar,
    pytest.mark.xdist_group("installed"),
    pytest.mark.timeout(240),
]

THRESHOLD = 5


async def test_keda_drives_replicas_while_it_is_there(home: Home, provider: Provider, keda_definition: Path) -> None:
    kubectl = home.installation.kubectl
    path = f"/apis/keda.sh/v1alpha1/namespaces/{home.name}/scaledobjects/gpt-scaledobject"
    await home.apply("gpt", provider, msgBacklogThreshold=THRESHOLD)
    await home.state("gpt", "Idle")
    await kubectl("apply", "-f", str(keda_definition))
    try:
        spec = (await home.until(lambda: home.cluster.find(path), "its ScaledObject"))["spec"]
        assert (spec["scaleTargetRef"]["name"], spec["minReplicaCount"]) == ("gpt-deployment", 0)
        [trigger] = spec["triggers"]
        assert trigger["type"] == "pulsar"
        assert trigger["metadata"]["msgBacklogThreshold"] == str(THRESHOLD)
        assert trigger["metadata"]["subscription"] == model_subscription(home.model)
        # What KEDA's autoscaler does.
        await home.kubectl("scale", "deployment", "gpt-deployment", "--replicas=2")
        assert scaled_by(await home.state("gpt", "Running")) == "KEDA"
        before = await home.scaled("gpt", 2)
        await home.apply("gpt", provider, msgBacklogThreshold=THRESHOLD, maxProcessNum=3)
        await home.ended(before)
        await home.scaled("gpt", 2)
    finally:
        await kubectl("delete", "-f", str(keda_definition))
    await home.until(lambda: scaled_by(home.aimodel("gpt")["status"]) == "BuiltIn", "the operator scales it again")


def scaled_by(status: Object) -> str:
    """Who drives its replicas, as the status tells it."""
    [reason] = [each["reason"] for each in status["conditions"] if each["type"] == "Scaling"]
    return str(reason)
