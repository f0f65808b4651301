"""A WorkerNode in Pods, as Kubernetes sees it."""

from __future__ import annotations

import pytest

from tests.fixtures.control_plane import Node
from tests.kubernetes.workloads import Space, get

pytestmark = [pytest.mark.kubernetes, pytest.mark.xdist_group("kubernetes")]

PORT = 8081


async def test_workers_become_available_on_the_same_port_and_end_by_themselves(
    node: Node, space: Space, empty_database: str
) -> None:
    env = {"NODE_TYPE": "mock", "MODEL_NAME": "m", "AGENTOS_BUS_URL": empty_database, "AGENTOS_HOST": "0.0.0.0"}
    ready = {"httpGet": {"path": "/ready", "port": PORT}, "periodSeconds": 1, "timeoutSeconds": 10}
    variables = [{"name": name, "value": value} for name, value in env.items()]
    space.deployment("worker", 2, image="agentos", env=variables, readinessProbe=ready)
    await space.available("worker", 2)
    pods = {pod["metadata"]["name"]: pod["status"]["podIP"] for pod in space.pods()}
    for address in pods.values():
        status, _ = await get(address, "/health", PORT)
        assert status == 200
    space.scale("worker", 0)
    await space.available("worker", 0)
    for name in pods:
        await space.gone(name)
        assert "Traceback" not in node.log(space.name, name, "main")
