"""A model of which only the operator has told: its tasks are taken, and whoever scales it hears how much there is."""

from __future__ import annotations

import pytest

from bus import messages
from bus.messages import ModelNotice
from bus.scaling import FrontendInformation, decode_scaling
from bus.topics import SCALING_CHANNEL, WORKERS_CHANNEL, model_subscription, model_topic
from policy.window import MIN_OUTSTANDING
from tests.e2e.tasking import Tasks, node
from tests.fixtures.fleet import Fleet, until

NODES = 20


@pytest.mark.parametrize("own_fleet", ["postgres"], indirect=True)
async def test_nodes_that_wait_for_the_first_worker_are_told_of(own_fleet: Fleet) -> None:
    coordinator = own_fleet.coordinator()
    await own_fleet.start(coordinator)
    bus, model = await own_fleet.bus(), own_fleet.model
    loads: list[FrontendInformation] = []

    def hear(frame: bytes) -> None:
        if isinstance(told := decode_scaling(frame), FrontendInformation):
            loads.append(told)

    listening = await bus.listen(SCALING_CHANNEL, hear)
    await bus.send(WORKERS_CHANNEL, messages.encode(ModelNotice(model=model, node_type="mock")))
    async with Tasks(coordinator) as tasks:
        nodes = [node(f"n{number}", model, "Say something.") for number in range(NODES)]
        task = await until(lambda: _submitted(tasks, nodes), "the gateway has heard of the model")
        await until(lambda: loads and loads[-1].ready == {model: NODES - MIN_OUTSTANDING}, "the rest is told of")
        backlog = await bus.backlog(model_topic(model), model_subscription(model))
        assert backlog.ready == MIN_OUTSTANDING
        await own_fleet.start(own_fleet.worker())
        assert (await tasks.ended(task))["status"] == "completed"
    await listening.close()
    await bus.close()


async def _submitted(tasks: Tasks, nodes: list[dict[str, object]]) -> str | None:
    reply = await tasks.ask("POST", "/tasks", {"nodes": nodes})
    return str(reply.body["id"]) if reply.status in (200, 202) else None
