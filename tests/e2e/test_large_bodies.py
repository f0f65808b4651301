"""Bodies above the broker's limit travel beside the message, and are dropped once they are folded."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
import pytest_asyncio

from tests.fixtures.fleet import Counts, Fleet, Site, until

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("e2e-large")]

WORD = "0123456789abcdef" * (1 << 12)
TEXT = " ".join([WORD] * 96)  # 6 MiB


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(site: Site, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fleet]:
    """A mock worker that says 6 MiB."""
    directory: Path = tmp_path_factory.mktemp("fleet")
    config = directory / "worker.toml"
    config.write_text(f"mock_text = {json.dumps(TEXT)}\n")
    with Fleet(site, directory) as fleet:
        await fleet.start(fleet.coordinator(), fleet.worker(AGENTOS_CONFIG=str(config)))
        yield fleet


async def blobs(fleet: Fleet) -> list[Any]:
    """Large bodies that the broker keeps. A topic that nobody subscribes is nothing to Pulsar, and goes."""
    if "bus_url" in fleet.site.bus:
        return list(await fleet.rows("select id from agentos_bus.blobs"))
    topics = fleet.site.bus["pulsar_admin_url"] + "/admin/v2/persistent/public/default"
    async with aiohttp.ClientSession() as session:
        async with session.get(topics) as response:
            names = [name.rsplit("/", 1)[1] for name in await response.json() if "agentos-blob-" in name]
        kept: list[Any] = []
        for name in names:
            async with session.get(f"{topics}/{quote(name)}/subscriptions") as response:
                kept += await response.json() if response.status == 200 else []
        return kept


@pytest.mark.parametrize("stream", [False, True])
async def test_a_question_and_an_answer_of_6_mib_arrive_whole_and_leave_nothing_behind(
    fleet: Fleet, before: Counts, stream: bool
) -> None:
    question: list[Any] = [{"role": "user", "content": TEXT}]
    async with fleet.client() as client:
        if stream:
            chunks = await client.chat.completions.create(model=fleet.model, messages=question, stream=True)
            said = "".join([chunk.choices[0].delta.content or "" async for chunk in chunks])
        else:
            completion = await client.chat.completions.create(model=fleet.model, messages=question)
            said = completion.choices[0].message.content or ""
    assert said == TEXT
    assert await fleet.folded(progress=1, since=before) == Counts(tasks=1, progress=1, ledger=1, outbox=0)

    async def dropped() -> bool:
        return not await blobs(fleet)

    await until(dropped, "the bodies are dropped")
