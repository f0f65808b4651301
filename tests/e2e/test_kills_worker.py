"""SIGKILL of workers in mid-call."""

from __future__ import annotations

import asyncio

import openai
import pytest

from tests.double.scripts import HANG, HANG_IN_STREAM
from tests.double.server import Provider
from tests.e2e.asking import ANSWER, QUESTION, ask, text_of
from tests.fixtures.fleet import Counts, Fleet

pytestmark = [pytest.mark.kills, pytest.mark.xdist_group("e2e-kills-worker")]


async def test_another_worker_makes_the_call_of_a_killed_one(own_fleet: Fleet, provider: Provider) -> None:
    first, second = own_fleet.worker(API_URL=provider.url), own_fleet.worker(API_URL=provider.url)
    provider.script(HANG)
    await own_fleet.start(own_fleet.coordinator(), first)
    before = await own_fleet.counts()
    async with own_fleet.client() as client:
        asking = asyncio.create_task(ask(client, own_fleet.model))
        await provider.call(0)
        await own_fleet.start(second)
        first.kill()
        assert await asking == ANSWER
    assert len(provider.calls) == 2
    # The killed worker could not tell what its call has cost.
    assert await own_fleet.folded(progress=1, since=before) == Counts(tasks=1, progress=1, ledger=1, outbox=0)


async def test_a_stream_whose_only_worker_is_killed_ends_by_name(own_fleet: Fleet, provider: Provider) -> None:
    first, second = own_fleet.worker(API_URL=provider.url), own_fleet.worker(API_URL=provider.url)
    provider.script(HANG_IN_STREAM)
    await own_fleet.start(own_fleet.coordinator(), first)
    before = await own_fleet.counts()
    async with own_fleet.client() as client:
        stream = await client.chat.completions.create(model=own_fleet.model, messages=QUESTION, stream=True)
        assert (await anext(stream)).choices
        first.kill()
        await own_fleet.start(second)
        with pytest.raises(openai.APIError) as caught:
            await text_of(stream)
        assert caught.value.code == "stream_interrupted"
        assert await ask(client, own_fleet.model) == ANSWER
    added = await own_fleet.folded(progress=2, since=before)
    assert (added.tasks, added.progress) == (2, 2)
