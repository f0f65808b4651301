"""`kubectl apply` and it runs: an AIModel as people have them, on an installation as people make it."""

from __future__ import annotations

import asyncio
import re
import uuid

import openai
import pytest

from tests.double.server import Provider
from tests.e2e.asking import ANSWER, ask
from tests.kubernetes.operators import Home

pytestmark = [
    pytest.mark.kubernetes,
    pytest.mark.pulsar,
    pytest.mark.xdist_group("installed"),
    pytest.mark.timeout(240),
]


async def test_an_aimodel_of_the_earlier_operator_is_served_and_scaled(
    home: Home, provider: Provider, client: openai.AsyncOpenAI
) -> None:
    provider.key = f"sk-{uuid.uuid4().hex}"
    await home.apply("gpt", provider, replicas=1, apiKey=provider.key, maxProcessNum=1)
    await home.state("gpt", "Running")
    assert await ask(client, home.model) == ANSWER
    assert [call.key for call in provider.calls] == [provider.key]
    assert await columns(home) == {
        "NAME": "gpt",
        "TYPE": "remote",
        "MODEL": home.model,
        "REPLICAS": "1",
        "READY": "1",
        "STATE": "Running",
    }
    await home.kubectl("scale", "aimodel", "gpt", "--replicas=2")
    await home.scaled("gpt", 2)
    await two_at_once(provider, client, home.model)
    told = await home.kubectl("describe", "aimodel", "gpt")
    for words in (r"Type:\s+Ready", r"Observed Generation:\s+2", r"Last Transition Time:\s+2", r"State:\s+Running"):
        assert re.search(words, told)
    await home.kubectl("scale", "aimodel", "gpt", "--replicas=0")
    await home.state("gpt", "Idle")
    await home.until(lambda: not home.pods(), "its Pods end")
    await home.must_not_show(provider.key)


async def columns(home: Home) -> dict[str, str]:
    """What `kubectl get aimodel` shows of the only one, but its age and its backlog."""
    head, row = (await home.kubectl("get", "aimodel")).splitlines()
    names = re.findall(r"\S+\s*", head)
    assert [name.strip() for name in names] == [
        "NAME",
        "TYPE",
        "MODEL",
        "REPLICAS",
        "READY",
        "BACKLOG",
        "STATE",
        "AGE",
    ]
    shown, at = {}, 0
    for name in names:
        shown[name.strip()] = row[at : at + len(name)].strip()
        at += len(name)
    return {name: text for name, text in shown.items() if name not in ("BACKLOG", "AGE")}


async def two_at_once(provider: Provider, client: openai.AsyncOpenAI, model: str) -> None:
    """Each worker takes one request at a time: two are under way only if there are two."""
    provider.hold(0)
    asked = [asyncio.create_task(ask(client, model)) for _ in range(2)]
    async with asyncio.timeout(30):
        while provider.running < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.05)  # the double tells of calls, not of how many there are at once
    provider.release()
    assert await asyncio.gather(*asked) == [ANSWER] * 2
