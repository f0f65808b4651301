"""Processes that leave in good order, or that cannot start: what they finish, what they say, their exit codes."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.double.server import Provider
from tests.e2e.asking import ANSWER, ask, ask_in_stream
from tests.fixtures.fleet import Counts, Fleet, Site, until

pytestmark = [pytest.mark.xdist_group("e2e-leaving")]


async def test_a_worker_that_is_asked_to_leave_finishes_its_calls(own_fleet: Fleet, provider: Provider) -> None:
    provider.pace = 0.2
    first, second = own_fleet.worker(API_URL=provider.url), own_fleet.worker()
    await own_fleet.start(own_fleet.coordinator(), first)
    before = await own_fleet.counts()
    async with own_fleet.client() as client:
        asking = [asyncio.create_task(ask_in_stream(client, own_fleet.model)) for _ in range(5)]
        await provider.call(4)
        first.send(signal.SIGTERM)
        await own_fleet.start(second)
        # The mock's answer is another: it is the second worker that took this one.
        assert await ask(client, own_fleet.model) != ANSWER
        assert await asyncio.gather(*asking) == [ANSWER] * 5
    assert await first.ended() == 0
    assert len(provider.calls) == 5
    assert await own_fleet.folded(progress=6, since=before) == Counts(tasks=6, progress=6, ledger=6, outbox=0)


async def test_calls_that_outlast_the_grace_go_to_another_worker(own_fleet: Fleet, provider: Provider) -> None:
    provider.delay = 60
    first, second = own_fleet.worker(API_URL=provider.url, AGENTOS_GRACE_SECONDS="0.2"), own_fleet.worker()
    await own_fleet.start(own_fleet.coordinator(), first)
    async with own_fleet.client() as client:
        asking = asyncio.create_task(ask(client, own_fleet.model))
        call = await provider.call()
        first.send(signal.SIGTERM)
        assert await first.ended() == 0
        assert call.left.is_set()
        await own_fleet.start(second)
        assert await asking


async def test_a_second_signal_gives_back_at_once_what_would_take_long(own_fleet: Fleet, provider: Provider) -> None:
    provider.delay = 60
    first, second = own_fleet.worker(API_URL=provider.url, AGENTOS_GRACE_SECONDS="60"), own_fleet.worker()
    await own_fleet.start(own_fleet.coordinator(), first)
    before = await own_fleet.counts()
    async with own_fleet.client() as client:
        asking = [asyncio.create_task(way(client, own_fleet.model)) for way in (ask, ask_in_stream)]
        calls = [await provider.call(number) for number in range(2)]
        first.send(signal.SIGTERM)
        await until(lambda: "2 calls have 60.0 s to finish" in first.said(), "it waits for its calls")
        # What comes now is for the other, while the first still waits.
        await own_fleet.start(second)
        assert await ask(client, own_fleet.model) != ANSWER
        assert first.alive
        first.send(signal.SIGTERM)
        async with asyncio.timeout(20):
            answers = await asyncio.gather(*asking)
        assert ANSWER not in answers
        assert all(answers)
    assert await first.ended() == 0
    assert all(call.left.is_set() for call in calls)
    assert (await own_fleet.folded(progress=3, since=before)).progress == 3

    async def billed() -> bool:
        return (await own_fleet.counts()).since(before).ledger == 5

    # Three answers, and the two calls that were cut off: they may have cost money.
    await until(billed, "five attempts are in the ledger")


async def test_a_coordinator_that_is_asked_to_leave_answers_first(own_fleet: Fleet, provider: Provider) -> None:
    provider.delay, provider.pace = 0.5, 0.1
    coordinator = own_fleet.coordinator()
    await own_fleet.start(coordinator, own_fleet.worker(API_URL=provider.url))
    async with own_fleet.client() as client:
        asking = [asyncio.create_task(way(client, own_fleet.model)) for way in (ask, ask_in_stream)]
        await provider.call(1)
        coordinator.send(signal.SIGTERM)
        assert await asyncio.gather(*asking) == [ANSWER] * 2
    assert await coordinator.ended() == 0
    rows = await own_fleet.rows("select count(*) from outbox")
    assert rows[0][0] == 0


@pytest.fixture
def homeless(tmp_path: Path) -> Iterator[Fleet]:
    """A fleet without store and broker."""
    with Fleet(Site("", {}), tmp_path) as fleet:
        yield fleet


@pytest.mark.parametrize(
    ("kind", "address"),
    [
        ("worker", {"PULSAR_URL": "pulsar://127.0.0.1:1"}),
        ("worker", {"AGENTOS_BUS_URL": "postgresql://127.0.0.1:1/x"}),
        (
            "coordinator",
            {"AGENTOS_DATABASE_URL": "postgresql://127.0.0.1:1/x", "AGENTOS_BUS_URL": "postgresql://127.0.0.1:1/x"},
        ),
    ],
)
async def test_a_wrong_address_is_one_line_by_name_and_exit_code_1(
    homeless: Fleet, kind: str, address: dict[str, str]
) -> None:
    daemon = getattr(homeless, kind)(**address)
    daemon.start()
    assert await daemon.ended() == 1
    # The client of Pulsar writes lines of its own before it.
    *_, line = daemon.said().splitlines()
    assert "CRITICAL core.run: stopped: " in line
    assert "Traceback" not in daemon.said()


@pytest.mark.parametrize(
    ("variable", "hint"),
    [("AGENTOS_MAX_ATTEMPT", "AGENTOS_MAX_ATTEMPTS"), ("AGENTOS_BUS_ULR", "AGENTOS_BUS_URL")],
)
async def test_a_misspelt_variable_is_exit_code_2_and_the_nearest_name(
    homeless: Fleet, variable: str, hint: str
) -> None:
    worker = homeless.worker(**{variable: "3"})
    worker.start()
    assert await worker.ended() == 2
    assert worker.said() == f"agentos: unknown variable {variable}; did you mean {hint}?\n"
