"""SIGKILL of a local worker's model process in mid-call."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import aiohttp
import openai
import psutil
import pytest

from tests.e2e.asking import QUESTION, text_of
from tests.fixtures.fleet import Daemon, Fleet, until

pytestmark = [pytest.mark.kills, pytest.mark.llama, pytest.mark.xdist_group("e2e-kills-model")]

LONG: dict[str, Any] = {"messages": QUESTION, "max_tokens": 1500, "extra_body": {"ignore_eos": True}}


def models_of(worker: Daemon) -> list[psutil.Process]:
    """Its model processes: one, or none while it is started anew."""
    return [each for each in psutil.Process(worker.pid).children() if "--parallel" in each.cmdline()]


async def kill_the_busy_model(worker: Daemon) -> None:
    """Waits until the model computes, then kills it."""

    async def busy() -> psutil.Process | None:
        for model in models_of(worker):
            line = model.cmdline()
            try:
                async with session.get(f"http://127.0.0.1:{line[line.index('--port') + 1]}/slots") as response:
                    return model if any(each["is_processing"] for each in await response.json()) else None
            except aiohttp.ClientError:
                return None
        return None

    async with aiohttp.ClientSession() as session:
        model = await until(busy, "the model computes")
    os.kill(model.pid, signal.SIGKILL)


async def test_a_plain_request_does_not_notice_that_its_model_was_killed(own_fleet: Fleet, tiny_model: Path) -> None:
    worker = own_fleet.worker(NODE_TYPE="local", AGENTOS_MODEL_FILE=str(tiny_model))
    await own_fleet.start(own_fleet.coordinator(), worker)
    before = await own_fleet.counts()
    async with own_fleet.client() as client:
        asking = asyncio.create_task(client.chat.completions.create(model=own_fleet.model, **LONG))
        await kill_the_busy_model(worker)
        answer = await asking
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 1500
    await own_fleet.folded(progress=1, since=before)
    assert len(models_of(worker)) == 1


async def test_a_stream_whose_model_was_killed_ends_by_name_and_the_next_is_served(
    own_fleet: Fleet, tiny_model: Path
) -> None:
    worker = own_fleet.worker(NODE_TYPE="local", AGENTOS_MODEL_FILE=str(tiny_model))
    await own_fleet.start(own_fleet.coordinator(), worker)
    async with own_fleet.client() as client:
        stream = await client.chat.completions.create(model=own_fleet.model, stream=True, **LONG)
        assert (await anext(stream)).choices
        await kill_the_busy_model(worker)
        with pytest.raises(openai.APIError):
            await text_of(stream)
        asked = {**LONG, "max_tokens": 8}
        answer = await client.chat.completions.create(model=own_fleet.model, **asked)
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 8
