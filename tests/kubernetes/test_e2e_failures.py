"""AIModels that fail say why and come back; the others go on."""

from __future__ import annotations

import asyncio
import contextlib

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

RIGHT, WRONG = "sk-right-9b1f4e07", "sk-wrong-5c2d8a16"


async def test_a_refused_key_fails_by_name_until_it_is_changed_or_accepted(
    home: Home, provider: Provider, client: openai.AsyncOpenAI
) -> None:
    provider.key = RIGHT
    await home.apply("gpt", provider, apiKey=WRONG)
    await failed(home, "AuthenticationError")
    await home.apply("gpt", provider, apiKey=RIGHT)
    await home.state("gpt", "Running")
    assert await ask(client, home.model) == ANSWER
    provider.key = "another"
    await asked(client, home.model)
    await failed(home, "AuthenticationError")
    provider.key = RIGHT
    assert await taken(client, home.model) == ANSWER
    await home.state("gpt", "Running")  # nobody has changed anything here
    for secret in (RIGHT, WRONG):
        await home.must_not_show(secret)


async def test_what_cannot_start_fails_by_name_and_the_others_run(
    home: Home, provider: Provider, client: openai.AsyncOpenAI
) -> None:
    await home.apply("no-image", provider, image="registry.example.com/none:1")
    await home.apply("no-secret", provider, apiKeySecretRef={"name": "none"})
    await home.apply("good", provider)
    await home.state("good", "Running")
    assert await ask(client, home.model) == ANSWER
    for name, reason in (("no-image", "ImagePullBackOff"), ("no-secret", "CreateContainerConfigError")):
        status = await home.state(name, "Failed", seconds=90)
        assert reason in status["message"]
    good = home.aimodel("good")["status"]
    assert (good["state"], good["readyReplicas"]) == ("Running", 1)
    await home.kubectl("create", "secret", "generic", "none", "--from-literal=apiKey=sk-late")
    await home.state("no-secret", "Running")


async def asked(client: openai.AsyncOpenAI, model: str) -> None:
    """One request, whatever comes of it."""
    with contextlib.suppress(openai.APIError):
        await ask(client, model)


async def taken(client: openai.AsyncOpenAI, model: str) -> str:
    """The answer to the first request that the gateway takes."""
    async with asyncio.timeout(60):
        while True:
            try:
                return await ask(client, model)
            except openai.APIError as error:
                if error.code != "model_unavailable":
                    raise
            await asyncio.sleep(0.5)


async def failed(home: Home, reason: str) -> None:
    """As `kubectl describe` tells it to a person."""
    event = await home.warned(reason)
    status = await home.state("gpt", "Failed")
    assert status["message"].startswith(f"{reason}: ")
    assert event["message"] in status["message"]
    [condition] = [each for each in status["conditions"] if each["type"] == "Failed"]
    assert (condition["status"], condition["reason"]) == ("True", reason)
    told = await home.kubectl("describe", "aimodel", "gpt")
    assert reason in told
