"""The examples do what they say."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from tests.fixtures.fleet import Fleet

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
SAYS = "This is a fixed answer from the mock backend."


async def output(example: str, *arguments: str) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(EXAMPLES / example),
        *arguments,
        cwd=EXAMPLES.parent,
        env={"PYTHONPATH": str(EXAMPLES.parent)},
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        told, _ = await process.communicate()
    assert process.returncode == 0
    return told.decode()


async def test_the_official_client_is_answered_plain_and_streamed(own_fleet: Fleet) -> None:
    gateway, worker = own_fleet.coordinator(), own_fleet.worker()
    await own_fleet.start(gateway, worker)
    told = await output("chat.py", f"{gateway.url}/v1", own_fleet.model)
    assert told.count(SAYS) == 2
    assert told.count("tokens:") == 2


@pytest.mark.parametrize("own_fleet", [pytest.param("pulsar", marks=pytest.mark.pulsar)], indirect=True)
async def test_a_program_that_publishes_itself_is_answered_at_its_endpoint(
    own_fleet: Fleet, pulsar_address: dict[str, str]
) -> None:
    worker = own_fleet.worker()
    await own_fleet.start(worker)
    assert SAYS in await output("direct.py", pulsar_address["pulsar_url"], own_fleet.model)
