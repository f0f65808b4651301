"""What happens to requests while an AIModel is changed and deleted: nothing."""

from __future__ import annotations

import asyncio

import openai
import pytest

from bench.shapes import bag
from tests.double.server import Provider
from tests.e2e.asking import ANSWER
from tests.kubernetes.operators import Asker, Home
from workload.client import Client, Task

pytestmark = [
    pytest.mark.kubernetes,
    pytest.mark.pulsar,
    pytest.mark.xdist_group("installed"),
    pytest.mark.timeout(240),
]

NODES = 5


async def test_a_change_rolls_out_while_requests_flow(
    home: Home, provider: Provider, client: openai.AsyncOpenAI
) -> None:
    provider.delay = 0.3
    await home.apply("gpt", provider, replicas=2, maxProcessNum=2)
    before = await home.scaled("gpt", 2)
    asker = Asker(client, home.model, clients=3)
    async with asyncio.timeout(30):
        while len(asker.answers) < 3:  # noqa: ASYNC110
            await asyncio.sleep(0.05)  # a list tells nobody
    await home.apply("gpt", provider, replicas=2, maxProcessNum=3)
    await home.state("gpt", "Running")
    await home.ended(before)
    await home.scaled("gpt", 2)
    answers = await asker.stop()
    assert set(answers) == {ANSWER}
    assert len(provider.calls) == len(answers)


async def test_deletion_drains_and_what_waits_is_there_for_the_next(home: Home, provider: Provider) -> None:
    await home.apply("gpt", provider, maxProcessNum=2)
    pods = await home.scaled("gpt", 1)
    provider.hold(0)
    async with Client(home.installation.gateway) as gateway:
        task = await gateway.submit(bag(home.model, NODES))
        async with asyncio.timeout(30):
            await provider.call(1)
        await home.kubectl("delete", "aimodel", "gpt")
        await home.until(lambda: not home.pods(), "the Pod is told to end")
        provider.release()
        await home.ended(pods)
        assert (len(provider.calls), await completed(task)) == (2, 2)
        await home.apply("gpt", provider, maxProcessNum=2)
        async with asyncio.timeout(60):
            told = await task.ended()
    assert told["status"] == "completed"
    assert len(provider.calls) == NODES


async def completed(task: Task) -> int:
    """How many nodes of the task have completed, once so many results are folded as there were calls."""
    async with asyncio.timeout(30):
        while True:
            nodes = (await task.look())["nodes"]
            count: int = sum(node["status"] == "completed" for node in nodes)
            if count >= 2:
                return count
            await asyncio.sleep(0.2)
