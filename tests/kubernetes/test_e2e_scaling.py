"""Workers come with the work and go with it; while the planner orders, it decides."""

from __future__ import annotations

import asyncio
import re

import openai
import pytest

from tests.double.server import Provider
from tests.e2e.asking import ANSWER, ask
from tests.fixtures.fleet import until
from tests.kubernetes.operators import Home
from workload.client import Client

pytestmark = [
    pytest.mark.kubernetes,
    pytest.mark.pulsar,
    pytest.mark.xdist_group("installed"),
    pytest.mark.timeout(240),
]

MOST = 3
BURST = 2 * MOST


async def test_from_zero_to_many_and_back_and_who_is_busy_stays(
    home: Home, provider: Provider, client: openai.AsyncOpenAI
) -> None:
    scaling = {"min": 0, "max": MOST, "target": 1, "downSeconds": 2, "idleSeconds": 4}
    await home.apply("gpt", provider, maxProcessNum=1, scaling=scaling)
    await home.state("gpt", "Idle")
    assert not home.pods_of("gpt")
    await known(client, home.model)
    provider.hold(0)
    asked = [asyncio.create_task(ask(client, home.model)) for _ in range(BURST)]
    pods = await home.scaled("gpt", MOST)
    await until(lambda: len(provider.calls) == MOST, "each has one")
    provider.release(MOST)
    await until(lambda: len(provider.calls) == BURST, "each has another one")
    provider.release(BURST - MOST - 1)
    await until(lambda: sum(each.done() for each in asked) == BURST - 1, "one is left")
    [last] = [call for call in provider.calls if not call.answered.is_set()]
    busy = home.installation.caller(last.peer)
    assert busy in pods
    assert await home.scaled("gpt", 1) == [busy]
    provider.release()
    assert await asyncio.gather(*asked) == [ANSWER] * BURST
    await home.state("gpt", "Idle")
    await home.until(lambda: not home.pods(), "its Pods end")
    assert await ask(client, home.model) == ANSWER
    assert len(provider.calls) == BURST + 1


async def known(client: openai.AsyncOpenAI, model: str) -> None:
    """Waits until the gateway lists the model, which no worker has served yet."""

    async def listed() -> bool:
        return model in [each.id async for each in client.models.list()]

    await until(listed, f"the gateway knows {model}")


async def test_while_the_planner_orders_it_decides(home: Home, provider: Provider) -> None:
    await home.apply("stage", provider, scaling={"min": 0, "max": 3, "idleSeconds": 1})
    await home.state("stage", "Idle")
    stage = {"id": "only", "model": home.model, "profile": {"1": 0.2}, "workers": {"least": 2, "most": 3}}
    async with Client(home.installation.gateway) as gateway:
        await gateway.apply({"name": home.name, "slo_seconds": 20, "stages": [stage]})
        await home.scaled("stage", 2)
        told = await home.kubectl("describe", "aimodel", "stage")
        assert re.search(rf"planner.*{home.name}", told)
        await gateway.delete(home.name)
    await home.state("stage", "Idle")
    await home.until(lambda: not home.pods(), "its Pods end")
