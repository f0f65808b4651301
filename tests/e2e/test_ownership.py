"""Owners of tasks that die, stand still, or leave: the graphs go on, and no finished or running call is repeated."""

from __future__ import annotations

import asyncio
import re
import signal
from collections import Counter
from typing import Any

import aiohttp
import pytest

from tests.double.server import Provider
from tests.e2e.later import pulsar_later
from tests.e2e.tasking import Tasks, node
from tests.fixtures.fleet import Daemon, Fleet, until

pytestmark = [pytest.mark.kills, pytest.mark.xdist_group("e2e-ownership"), pytest.mark.timeout(180)]

TASKS, LENGTH = 6, 8


def chain(model: str) -> dict[str, Any]:
    """Nodes one after the other, each named in its prompt."""
    nodes = [node("n0", model, "Say n0.")]
    nodes += [node(f"n{i}", model, f"Say n{i}.", depends_on=[f"n{i - 1}"]) for i in range(1, LENGTH)]
    return {"nodes": nodes}


async def submitted(fleet: Fleet, gateway: Daemon) -> list[str]:
    async with Tasks(gateway) as tasks:
        return [await tasks.submit(chain(fleet.model)) for _ in range(TASKS)]


async def all_completed(gateway: Daemon, names: list[str]) -> list[dict[str, Any]]:
    async with Tasks(gateway) as tasks:
        ended = list(await asyncio.gather(*(tasks.ended(name, seconds=100) for name in names)))
    assert [each["status"] for each in ended] == ["completed"] * TASKS
    return ended


def asked(provider: Provider) -> Counter[str]:
    """How often each node was called, over all tasks."""
    return Counter(call.body["messages"][0]["content"] for call in provider.calls)


async def in_the_middle(fleet: Fleet) -> bool:
    ((count,),) = await fleet.rows("select count(*) from progress")
    return bool(count >= TASKS * 2)


@pulsar_later("own_fleet")
async def test_the_tasks_of_a_killed_owner_go_on_at_another(own_fleet: Fleet, provider: Provider) -> None:
    provider.delay = 0.4
    first, second = own_fleet.coordinator(), own_fleet.coordinator()
    await own_fleet.start(first, second, own_fleet.worker(API_URL=provider.url, MAX_PROCESS_NUM="8"))
    names = await submitted(own_fleet, first)
    await until(lambda: in_the_middle(own_fleet), "the tasks are half done")
    first.kill()
    ended = await all_completed(second, names)
    assert {each["epoch"] for each in ended} == {"0.1"}
    assert asked(provider) == Counter({f"Say n{i}.": TASKS for i in range(LENGTH)})


@pulsar_later("own_fleet")
async def test_another_region_takes_over_under_a_higher_global_epoch(own_fleet: Fleet, provider: Provider) -> None:
    provider.delay = 0.2
    west, east = own_fleet.coordinator(AGENTOS_REGION="west"), own_fleet.coordinator(AGENTOS_REGION="east")
    await own_fleet.start(west, east, own_fleet.worker(API_URL=provider.url, MAX_PROCESS_NUM="8"))
    names = await submitted(own_fleet, west)
    await until(lambda: in_the_middle(own_fleet), "the tasks are half done")
    west.kill()
    ended = await all_completed(east, names)
    assert {each["epoch"] for each in ended} == {"1.0"}
    assert asked(provider) == Counter({f"Say n{i}.": TASKS for i in range(LENGTH)})


@pulsar_later("own_fleet")
async def test_an_owner_that_wakes_up_late_can_change_nothing(own_fleet: Fleet, provider: Provider) -> None:
    provider.delay = 1.0
    first, second = own_fleet.coordinator(), own_fleet.coordinator()
    await own_fleet.start(first, second, own_fleet.worker(API_URL=provider.url, MAX_PROCESS_NUM="8"))
    names = await submitted(own_fleet, first)
    await until(lambda: in_the_middle(own_fleet), "the tasks are half done")
    first.send(signal.SIGSTOP)
    await until(lambda: moved(own_fleet), "the tasks are the other's", seconds=60)
    first.send(signal.SIGCONT)
    await until(lambda: metric(first, "agentos_stepped_down_total"), "it has stepped down", seconds=60)
    assert await metric(first, "agentos_refused_writes_total") >= 1
    ended = await all_completed(second, names)
    assert {each["epoch"] for each in ended} == {"0.1"}
    assert asked(provider) == Counter({f"Say n{i}.": TASKS for i in range(LENGTH)})
    # It is a coordinator like any other again.
    await all_completed(first, await submitted(own_fleet, first))


async def moved(fleet: Fleet) -> bool:
    rows = await fleet.rows("select distinct regional_epoch from tasks where state is not null")
    return [row[0] for row in rows] == [1]


async def metric(daemon: Daemon, name: str) -> float:
    async with aiohttp.ClientSession() as session, session.get(daemon.url + "/metrics") as response:
        values = re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", await response.text(), re.MULTILINE)
    return sum(map(float, values))


@pulsar_later("own_fleet")
async def test_an_owner_that_leaves_hands_its_tasks_over(own_fleet: Fleet, provider: Provider) -> None:
    provider.delay = 0.4
    first, second = own_fleet.coordinator(), own_fleet.coordinator()
    await own_fleet.start(first, second, own_fleet.worker(API_URL=provider.url, MAX_PROCESS_NUM="8"))
    names = await submitted(own_fleet, first)
    await until(lambda: in_the_middle(own_fleet), "the tasks are half done")
    first.send(signal.SIGTERM)
    assert await first.ended() == 0
    await all_completed(second, names)
    assert asked(provider) == Counter({f"Say n{i}.": TASKS for i in range(LENGTH)})
