"""`agentos dlq` on both buses, as people and programs run it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator

import pytest

from agentos.dlq import Box, box_of, boxes
from bus.connect import connect
from bus.port import ATTEMPT_PROPERTY, DEAD_LETTER_SUBSCRIPTION, Backlog, Bus, Delivery, Outgoing
from bus.topics import RESULT_TOPIC, model_subscription, model_topic
from tests.bus.conftest import is_silent, take, until_backlog

ENVIRONMENT = {"pulsar_url": "PULSAR_URL", "pulsar_admin_url": "PULSAR_ADMIN_URL", "bus_url": "AGENTOS_BUS_URL"}
MANY = 5_000


@pytest.fixture(params=["postgres", pytest.param("pulsar", marks=pytest.mark.pulsar)])
def address(request: pytest.FixtureRequest) -> dict[str, str]:
    """Arguments of `bus.connect.connect`."""
    if request.param == "postgres":
        return {"bus_url": request.getfixturevalue("empty_database")}
    found: dict[str, str] = request.getfixturevalue("pulsar_address")
    return found


@pytest.fixture
async def bus(address: dict[str, str]) -> AsyncIterator[Bus]:
    bus = await connect(**address)
    yield bus
    await bus.close()


@pytest.fixture
def model() -> str:
    return f"meta/llama 3:8b-{uuid.uuid4().hex}"


def command(address: dict[str, str], *arguments: str) -> tuple[list[str], dict[str, str]]:
    named = {ENVIRONMENT[name]: value for name, value in address.items()}
    return [sys.executable, "-m", "agentos", "dlq", *arguments], {**os.environ, **named}


async def dlq(address: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    line, environment = command(address, *arguments)
    return await asyncio.to_thread(
        subprocess.run, line, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
    )


async def kill_letters(bus: Bus, model: str, *bodies: bytes) -> None:
    """As a worker does that has given up."""
    consumer = await bus.subscribe(model_topic(model), model_subscription(model), window=10, max_attempts=2)
    await (await bus.publisher(model_topic(model))).publish([Outgoing(body, {"kept": "yes"}) for body in bodies])
    for delivery in await take(consumer, len(bodies)):
        await consumer.nack(delivery, delay=0, reason="first")
    for delivery in await take(consumer, len(bodies)):
        await consumer.nack(delivery, delay=0, reason=f"the upstream\nfails {delivery.body.decode()}")
    await consumer.close()


async def shown(address: dict[str, str], model: str, *options: str) -> list[dict[str, object]]:
    done = await dlq(address, "show", model, "--json", *options)
    assert done.returncode == 0, done.stderr
    letters: list[dict[str, object]] = json.loads(done.stdout)
    return letters


async def waiting(bus: Bus, model: str, count: int) -> list[Delivery]:
    """What has been published again, all of it."""
    consumer = await bus.subscribe(model_topic(model), model_subscription(model), window=2 * MANY, prefetch=500)
    deliveries = await take(consumer, count)
    assert await is_silent(consumer)
    await consumer.close()
    return deliveries


def test_boxes_are_found_by_their_topics_and_named_by_their_models() -> None:
    names = ["m", "a/b", "a b", "x-model-x", "model-m", "m-subscription-DLQ", RESULT_TOPIC]
    topics = [box_of(name).letters for name in names]
    strangers = ["model-m", "other-DLQ", "model-a-model-b-subscription-DLQ", "-subscription-DLQ"]
    assert [box.name for box in boxes([*strangers, *topics])] == sorted(names)
    assert box_of("m") == Box("m", "model-m", "model-m-model-m-subscription-DLQ")


async def test_letters_are_listed_and_shown_and_stay(bus: Bus, address: dict[str, str], model: str) -> None:
    await kill_letters(bus, model, b"one", b"two")
    listed = json.loads((await dlq(address, "list", "--json")).stdout)
    [mine] = [each for each in listed if each["name"] == model]
    assert (mine["topic"], mine["count"]) == (model_topic(model), 2)
    letters = await shown(address, model)
    assert letters == await shown(address, model)
    assert [letter["reason"] for letter in letters] == ["the upstream\nfails one", "the upstream\nfails two"]
    assert {(letter["attempts"], letter["crashes"], letter["size"]) for letter in letters} == {(2, 0, 3)}
    assert all("body" not in letter for letter in letters)
    assert mine["oldest"] == letters[0]["time"]
    assert [letter["body"] for letter in await shown(address, model, "--body", "--limit", "1")] == ["one"]
    table = (await dlq(address, "show", model)).stdout
    assert "the upstream fails one" in table
    assert str(letters[0]["id"]) in table
    assert model in (await dlq(address, "list")).stdout


async def test_a_replayed_letter_is_a_new_message_and_the_others_stay(
    bus: Bus, address: dict[str, str], model: str
) -> None:
    await kill_letters(bus, model, b"one", b"two", b"six")
    letters = await shown(address, model)
    chosen = str(letters[1]["id"])
    done = await dlq(address, "replay", model, chosen, "feedfeedfeed")
    assert (done.returncode, done.stdout) == (1, "replayed 1\n")
    assert "not found: feedfeedfeed" in done.stderr
    [again] = await waiting(bus, model, 1)
    assert (again.body, again.attempt, again.crashes, again.properties) == (b"two", 1, 0, {"kept": "yes"})
    assert await shown(address, model) == [letters[0], letters[2]]
    done = await dlq(address, "replay", model, "--all")
    assert (done.returncode, done.stdout) == (0, "replayed 2\n")
    assert {each.body for each in await waiting(bus, model, 3)} == {b"one", b"two", b"six"}
    assert await shown(address, model) == []


async def test_letters_are_dropped_by_those_who_say_yes(bus: Bus, address: dict[str, str], model: str) -> None:
    await kill_letters(bus, model, b"one", b"two")
    refused = await dlq(address, "drop", model, "--all")
    assert refused.returncode == 2
    assert "--yes" in refused.stderr
    letters = await shown(address, model)
    assert (await dlq(address, "drop", model, str(letters[0]["id"]), "--yes")).returncode == 0
    assert await shown(address, model) == letters[1:]
    assert (await dlq(address, "drop", model, "--all", "--yes")).returncode == 0
    assert await shown(address, model) == []
    assert (await bus.backlog(model_topic(model), model_subscription(model))) == Backlog(0, 0, 0)


async def test_a_wrong_call_or_a_broker_that_is_away_is_told(address: dict[str, str], model: str) -> None:
    assert (await dlq(address, "replay", model)).returncode == 2
    assert (await dlq(address, "replay", model, "id", "--all")).returncode == 2
    nothing = await dlq(address, "replay", model, "--all")
    assert (nothing.returncode, nothing.stdout) == (0, "replayed 0\n")
    away = await dlq({"bus_url": "postgresql://127.0.0.1:1/none"}, "list")
    assert away.returncode == 1
    assert away.stderr.startswith("agentos: ")
    assert (await dlq({}, "list")).returncode == 2


@pytest.mark.kills
async def test_an_interrupted_replay_loses_nothing(bus: Bus, address: dict[str, str], model: str) -> None:
    box = box_of(model)
    await bus.ensure_subscription(box.letters, DEAD_LETTER_SUBSCRIPTION)
    await bus.ensure_subscription(box.topic, model_subscription(model))
    letters = [Outgoing(b"%d" % number, {ATTEMPT_PROPERTY: "5"}) for number in range(MANY)]
    await (await bus.publisher(box.letters)).publish(letters)
    line, environment = command(address, "replay", model, "--all")
    process = await asyncio.create_subprocess_exec(*line, env=environment, stderr=asyncio.subprocess.PIPE)
    assert process.stderr is not None
    assert b"replayed" in await process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _, told = await process.communicate()
    assert (process.returncode, b"interrupted" in told) == (130, True)
    left = (await bus.backlog(box.letters, DEAD_LETTER_SUBSCRIPTION)).ready
    assert 0 < left < MANY
    done = await dlq(address, "replay", model, "--all")
    assert (done.returncode, done.stdout) == (0, f"replayed {left}\n")
    await until_backlog(bus, box.letters, DEAD_LETTER_SUBSCRIPTION, Backlog(0, 0, 0))
    ready = (await bus.backlog(box.topic, model_subscription(model))).ready
    assert {each.body for each in await waiting(bus, model, ready)} == {letter.body for letter in letters}
