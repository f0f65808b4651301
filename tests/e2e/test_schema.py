"""What really travels on the topics is as docs/schema says, on both brokers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jsonschema
import openai
import pytest
import pytest_asyncio

from bus.port import Subscription
from bus.topics import model_topic
from tests.double import scripts
from tests.double.server import Provider
from tests.e2e.asking import ask, ask_in_stream
from tests.fixtures.fleet import PATIENCE, Fleet, Site
from tools import schema

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("e2e-schema")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(
    site: Site, module_provider: Provider, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Fleet]:
    directory: Path = tmp_path_factory.mktemp("fleet")
    with Fleet(site, directory) as fleet:
        await fleet.start(fleet.coordinator(), fleet.worker(API_URL=module_provider.url, API_KEY="sk-test"))
        yield fleet


async def hear(subscription: Subscription, count: int) -> list[dict[str, Any]]:
    heard: list[dict[str, Any]] = []
    async with asyncio.timeout(PATIENCE):
        while len(heard) < count:
            heard += [json.loads(delivery.body) for delivery in await subscription.receive()]
    return heard


async def test_requests_and_results_of_the_road_are_as_their_schemas_say(fleet: Fleet, upstream: Provider) -> None:
    bus = await fleet.bus()
    requests = await bus.subscribe(model_topic(fleet.model), "eyes", window=100)
    results = await bus.subscribe(fleet.result_topic, "eyes", window=100)
    async with fleet.client() as client:
        await ask(client, fleet.model)
        await ask_in_stream(client, fleet.model)
        upstream.script(scripts.refuse(400, "context_length_exceeded"))
        with pytest.raises(openai.BadRequestError):
            await ask(client, fleet.model)
    for name, subscription in (("request", requests), ("attempt-result", results)):
        validator = jsonschema.Draft202012Validator(schema.json_schema(name))
        for message in await hear(subscription, 3):
            validator.validate(message)
            if name == "attempt-result":
                assert message["client"]["user_agent"].startswith("AsyncOpenAI")
                assert message["client"]["address"] == "127.0.0.1"
            assert not set(message) - set(schema.definitions("")[schema.MESSAGES[name].__name__]["properties"])
    await bus.close()
