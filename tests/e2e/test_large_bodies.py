"""Bodies above the broker's limit travel beside the message, and are dropped once they are folded."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from bus.messages import decode_result
from bus.port import Bus
from core.errors import BlobMissing
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


async def is_dropped(bus: Bus, reference: str) -> bool:
    try:
        await bus.get_blob(reference)
    except BlobMissing:
        return True
    return False


@pytest.mark.parametrize("stream", [False, True])
async def test_a_question_and_an_answer_of_6_mib_arrive_whole_and_leave_nothing_behind(
    fleet: Fleet, before: Counts, stream: bool
) -> None:
    bus = await fleet.bus()
    events = await bus.subscribe(fleet.result_topic, f"eyes-{stream}", window=1)
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
    result = decode_result((await events.receive())[0].body)
    for reference in (result.request_ref, result.response_ref):
        assert reference is not None
        await until(partial(is_dropped, bus, reference), "the body is dropped")
    await bus.close()
