"""A request that takes its worker's process down: three times, then never again, while others are served."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Sequence

import openai
import psutil
import pytest

from tests.double.server import Provider
from tests.e2e.asking import ANSWER, ask
from tests.fixtures.fleet import Daemon, Fleet

pytestmark = [pytest.mark.kills, pytest.mark.timeout(200), pytest.mark.xdist_group("e2e-quarantine")]

# What a deadly request takes until its worker dies of it. On Pulsar a death within the first 20 ms may not be
# counted: the journal gathers for so long (`bus.pulsar.journal_writer`).
DYING_SECONDS = 0.3
POISON = [{"role": "user", "content": "poison"}]


async def test_a_request_that_kills_its_workers_is_quarantined_while_others_are_served(
    own_fleet: Fleet, provider: Provider
) -> None:
    workers = [own_fleet.worker(API_URL=provider.url) for _ in range(2)]
    await own_fleet.start(own_fleet.coordinator(), *workers)
    provider.withhold(POISON)
    async with own_fleet.client() as client:
        asking = asyncio.create_task(
            client.chat.completions.create(model=own_fleet.model, messages=POISON)  # type: ignore[arg-type]
        )
        killer = asyncio.create_task(kill_whoever_calls(provider, workers))
        others = []
        while not asking.done():
            others.append(await asyncio.wait_for(ask(client, own_fleet.model), 60))
        with pytest.raises(openai.InternalServerError) as caught:
            await asking
        killer.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await killer
    assert caught.value.code == "request_quarantined"
    assert sum(seen.body["messages"] == POISON for seen in provider.calls) == 3
    assert others
    assert set(others) == {ANSWER}


async def kill_whoever_calls(provider: Provider, workers: Sequence[Daemon]) -> None:
    """SIGKILLs each worker that makes the deadly call, and starts it anew."""
    for number in itertools.count():
        seen = await provider.call(number)
        if seen.body["messages"] == POISON:
            killed = next(each for each in workers if each.alive and seen.peer in ports_of(each.pid))
            await asyncio.sleep(DYING_SECONDS)
            killed.kill()
            killed.start()


def ports_of(pid: int) -> set[int]:
    """Local ports of a process's connections."""
    return {each.laddr.port for each in psutil.Process(pid).net_connections("tcp")}
