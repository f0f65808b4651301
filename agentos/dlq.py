"""Dead letters, seen and replayed: what `agentos dlq` does, on either bus.

Looking takes letters as a consumer does and gives them back, so two who look at once see each a part.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import unquote

from bus.port import (
    ATTEMPT_PROPERTY,
    CRASHES_PROPERTY,
    DEAD_LETTER_SUBSCRIPTION,
    REASON_PROPERTY,
    Bus,
    Delivery,
    Outgoing,
    Subscription,
    count_of,
    dead_letter_topic,
)
from bus.topics import FOLD_SUBSCRIPTION, RESULT_TOPIC, model_subscription, model_topic

# Nothing comes for so long: another consumer holds the rest.
QUIET_SECONDS = 3.0
# How many are replayed or dropped at a time.
STEP = 100
_OURS = {ATTEMPT_PROPERTY, CRASHES_PROPERTY, REASON_PROPERTY}

Tell = Callable[[int, int], None]
Before = Callable[[list[Delivery]], Awaitable[None]]


class Box(NamedTuple):
    """Where letters of one topic lie. `name`: the model's, or the topic's own where it is no model's."""

    name: str
    topic: str
    letters: str


@dataclass(frozen=True, slots=True)
class Summary:
    """`oldest`: when the oldest became a dead letter, in Unix seconds; None where another consumer holds all."""

    name: str
    topic: str
    count: int
    oldest: float | None


@dataclass(frozen=True, slots=True)
class Letter:
    """`id` is the same whenever it is looked at. `time`: Unix seconds. Counts are None where nobody wrote them."""

    id: str
    time: float
    reason: str
    attempts: int | None
    crashes: int | None
    size: int
    body: bytes


class Work(NamedTuple):
    """What has been done: how many letters, and which ids were not found."""

    done: int
    missing: list[str]


def box_of(name: str) -> Box:
    """Of a model, or of the result topic by its own name."""
    if name == RESULT_TOPIC:
        return Box(name, RESULT_TOPIC, dead_letter_topic(RESULT_TOPIC, FOLD_SUBSCRIPTION))
    topic = model_topic(name)
    return Box(name, topic, dead_letter_topic(topic, model_subscription(name)))


def boxes(topics: Iterable[str]) -> list[Box]:
    """Those that exist, sorted by name."""
    return sorted(box for topic in topics if (box := _box_at(topic)) is not None)


def _box_at(topic: str) -> Box | None:
    # model-X-model-X-subscription-DLQ: the half before the subscription's suffix is written twice.
    doubled = topic.removesuffix("-subscription-DLQ")
    name = unquote(doubled[: len(doubled) // 2].removeprefix(model_topic("")))
    return next((box for box in (box_of(name), box_of(RESULT_TOPIC)) if box.letters == topic), None)


def letter_of(delivery: Delivery) -> Letter:
    """The id is made of what never changes: its place's time, its properties, its body."""
    digest = hashlib.blake2b(f"{delivery.published_at:.3f}".encode(), digest_size=6)
    for part in (repr(sorted(delivery.properties.items())).encode(), delivery.body):
        digest.update(part)
    return Letter(
        digest.hexdigest(),
        delivery.published_at,
        delivery.properties.get(REASON_PROPERTY, ""),
        count_of(delivery.properties, ATTEMPT_PROPERTY),
        count_of(delivery.properties, CRASHES_PROPERTY),
        len(delivery.body),
        delivery.body,
    )


async def summaries(bus: Bus) -> list[Summary]:
    """Of every box that is not empty. Raises `BusError`, as all below do."""
    found = []
    for box in boxes(await bus.topics()):
        if count := await _size(bus, box):
            first = await look(bus, box, 1)
            found.append(Summary(box.name, box.topic, count, first[0].time if first else None))
    return found


async def look(bus: Bus, box: Box, limit: int) -> list[Letter]:
    """The oldest `limit` letters, and all stay."""
    wanted = min(limit, await _size(bus, box))
    letters: list[Letter] = []
    if wanted:
        async with _opened(bus, box, wanted) as subscription:
            async for deliveries in _take(subscription, wanted):
                letters += map(letter_of, deliveries)
    return sorted(letters, key=lambda letter: letter.time)


async def replay(bus: Bus, box: Box, ids: set[str] | None, tell: Tell) -> Work:
    """Publishes letters again as new messages, each before it is taken from the box: twice rather than never.

    `ids`: None is all. `tell` is told how many are done, of how many.
    """
    publisher = await bus.publisher(box.topic)

    async def publish(deliveries: list[Delivery]) -> None:
        await publisher.publish([Outgoing(each.body, _without_counts(each)) for each in deliveries])

    return await _work_off(bus, box, ids, publish, tell)


async def drop(bus: Bus, box: Box, ids: set[str] | None, tell: Tell) -> Work:
    """Forgets letters."""

    async def nothing(_: list[Delivery]) -> None:
        return

    return await _work_off(bus, box, ids, nothing, tell)


async def _work_off(bus: Bus, box: Box, ids: set[str] | None, before: Before, tell: Tell) -> Work:
    """As many letters as there are now: those that come back in the meantime are not taken a second time."""
    size = await _size(bus, box)
    missing = set(ids or ())
    done = 0
    if not size:
        return Work(0, sorted(missing))
    # Letters that are not wanted are held until the end, so that the next ones come.
    async with _opened(bus, box, STEP if ids is None else size) as subscription:
        async for deliveries in _take(subscription, size):
            chosen = [each for each in deliveries if ids is None or letter_of(each).id in ids]
            await before(chosen)
            await subscription.ack(chosen)
            done += len(chosen)
            missing -= {letter_of(each).id for each in chosen}
            tell(done, size if ids is None else len(ids))
            if ids is not None and not missing:
                break
    return Work(done, sorted(missing))


def _without_counts(delivery: Delivery) -> dict[str, str]:
    return {name: value for name, value in delivery.properties.items() if name not in _OURS}


async def _size(bus: Bus, box: Box) -> int:
    backlog = await bus.backlog(box.letters, DEAD_LETTER_SUBSCRIPTION)
    return backlog.ready + backlog.delayed + backlog.in_flight


@asynccontextmanager
async def _opened(bus: Bus, box: Box, window: int) -> AsyncIterator[Subscription]:
    subscription = await bus.subscribe(
        box.letters, DEAD_LETTER_SUBSCRIPTION, window=window, prefetch=min(window, STEP), journal=False
    )
    try:
        yield subscription
    finally:
        await subscription.close()


async def _take(subscription: Subscription, limit: int) -> AsyncIterator[list[Delivery]]:
    """Until `limit` letters have come, or nothing more does."""
    count = 0
    while count < limit:
        try:
            async with asyncio.timeout(QUIET_SECONDS):
                deliveries = await subscription.receive()
        except TimeoutError:
            return
        count += len(deliveries)
        yield deliveries
