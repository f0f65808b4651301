"""Signs of life of a connection: who answers, who is starved, who only waits for a broker that is away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from bus import watch
from bus.port import Bus, Outgoing
from core.liveness import Beat
from tests.fixtures.fleet import until

TOPIC, NAME = "work", "workers"


class Clock:
    """Counts how often it is looked at: once for each beat."""

    def __init__(self) -> None:
        self.looks = 0

    def __call__(self) -> float:
        self.looks += 1
        return 0.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    monkeypatch.setattr(watch, "ASK_SECONDS", 0.01)
    monkeypatch.setattr(watch, "LOOK_SECONDS", 0.01)
    return Clock()


async def beats(clock: Clock, watching: asyncio.Task[None], number: int) -> None:
    before = clock.looks
    await until(lambda: clock.looks >= before + number or watching.done(), f"{number} beats")
    assert not watching.done()


async def test_a_broker_that_answers_is_a_sign_of_life(embedded_bus: Bus, clock: Clock) -> None:
    watching = asyncio.create_task(watch.watch_bus(embedded_bus, Beat(1, clock)))
    await beats(clock, watching, 3)
    watching.cancel()


async def test_a_connection_that_gives_no_answer_shows_no_progress(
    embedded_bus: Bus, clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(watch, "ANSWER_SECONDS", 0.05)
    # What a stuck connection looks like: its turn never comes.
    turn = embedded_bus._line._turn  # type: ignore[attr-defined]
    async with turn:
        beat = Beat(1, clock)
        looks = clock.looks
        watching = asyncio.create_task(watch.watch_bus(embedded_bus, beat))
        await until(lambda: caplog.text.count("gives no answer") >= 3, "three questions without an answer")
        assert clock.looks == looks
    await beats(clock, watching, 2)
    watching.cancel()


async def starving(bus: Bus, clock: Clock, received: Callable[[], int], has_room: Callable[[], bool]) -> bool:
    """Whether the watch stops beating although it looks on."""
    looks = 0

    def looked() -> bool:
        nonlocal looks
        looks += 1
        return has_room()

    watching = asyncio.create_task(
        watch.watch_consumer(bus, TOPIC, NAME, received=received, has_room=looked, beat=Beat(1, clock))
    )
    await until(lambda: looks >= 2 or clock.looks >= 10, "the watch looks")
    before, seen = looks, clock.looks
    await until(lambda: looks >= before + 3 or clock.looks >= seen + 10, "the watch looks again")
    watching.cancel()
    return clock.looks == seen


@pytest.mark.parametrize("waiting", [0, 2])
async def test_a_consumer_is_starved_only_where_something_waits(
    embedded_bus: Bus, clock: Clock, waiting: int
) -> None:
    await embedded_bus.ensure_subscription(TOPIC, NAME)
    await (await embedded_bus.publisher(TOPIC)).publish([Outgoing(b"{}")] * waiting)
    assert await starving(embedded_bus, clock, lambda: 7, lambda: True) is bool(waiting)


async def test_a_consumer_without_room_or_with_deliveries_is_not_starved(embedded_bus: Bus, clock: Clock) -> None:
    await embedded_bus.ensure_subscription(TOPIC, NAME)
    await (await embedded_bus.publisher(TOPIC)).publish([Outgoing(b"{}")])
    assert not await starving(embedded_bus, clock, lambda: 7, lambda: False)
    numbers = iter(range(10**6))
    assert not await starving(embedded_bus, clock, lambda: next(numbers), lambda: True)


async def test_a_backlog_that_is_not_known_is_no_reason_to_restart(embedded_bus: Bus, clock: Clock) -> None:
    await embedded_bus.ensure_subscription(TOPIC, NAME)
    await (await embedded_bus.publisher(TOPIC)).publish([Outgoing(b"{}")])
    await embedded_bus.close()
    assert not await starving(embedded_bus, clock, lambda: 7, lambda: True)
