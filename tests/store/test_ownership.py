from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import Counter

import pytest

from core.errors import StaleEpoch
from store import Epoch, Finish, OwnedTask, Peer, Store, TaskState
from tests.store.helpers import cut, dispatch, expire, eyes, graph, owned

LEASE = 600.0


async def joined(url: str, name: str, region: str = "here") -> Store:
    """A coordinator on connections of its own."""
    store = await Store.connect(url, pool_size=2)
    await store.join(name, region, LEASE)
    return store


def numbers(tasks: list[OwnedTask]) -> list[int]:
    return sorted(task.task_id for task in tasks)


async def test_a_coordinator_lives_from_joining_to_leaving(store: Store, store_url: str) -> None:
    other = await joined(store_url, "b", "there")
    await store.join("a", "here", LEASE)
    assert await store.renew("a", LEASE) == [Peer("a", "here"), Peer("b", "there")]
    await other.leave("b")
    assert await store.renew("a", LEASE) == [Peer("a", "here")]
    with pytest.raises(StaleEpoch):
        await other.renew("b", LEASE)
    await other.close()


async def test_a_name_is_for_one_life(store: Store, store_url: str) -> None:
    other = await joined(store_url, "a")
    with pytest.raises(StaleEpoch, match="'a'"):
        await store.join("a", "here", LEASE)
    await other.close()


async def test_the_tasks_of_the_living_stay_theirs(store: Store, store_url: str) -> None:
    other = await joined(store_url, "b")
    await cut(store_url, "b")  # its connection only: it renews on a new one
    await other.renew("b", LEASE)
    await owned(store, owner="b")
    assert await store.adopt_tasks("a", "here", limit=9) == []
    async with eyes(store_url) as connection:  # the lock alone is enough, before the lease is over
        await connection.execute("update coordinators set renewed_at = now() - interval '1 hour'")
    assert await store.adopt_tasks("a", "here", limit=9) == []
    await other.close()


async def test_the_tasks_of_a_killed_one_pass_on_under_the_next_regional_epoch(store: Store, store_url: str) -> None:
    other = await joined(store_url, "b")
    tasks = await owned(store, 3, owner="b")
    await cut(store_url, "b")
    first = await store.adopt_tasks("a", "here", limit=2)
    second = await store.adopt_tasks("a", "here", limit=2)
    assert numbers(first + second) == numbers(tasks)
    assert {task.epoch for task in first + second} == {Epoch(0, 1)}
    assert await store.adopt_tasks("a", "here", limit=2) == []
    assert await other.dispatch([dispatch(task) for task in tasks]) == [None] * 3
    assert await other.reload_tasks("b", numbers(tasks)) == []
    with pytest.raises(StaleEpoch):
        await other.renew("b", LEASE)
    await other.close()


async def test_one_that_slept_past_its_lease_has_lost_it_though_its_lock_is_held(
    store: Store, store_url: str
) -> None:
    other = await joined(store_url, "b")
    (task,) = await owned(store, owner="b")
    await expire(store_url, "b")
    assert numbers(await store.adopt_tasks("a", "here", limit=9)) == [task.task_id]
    with pytest.raises(StaleEpoch):
        await other.renew("b", LEASE)
    await other.join("b.2", "here", LEASE)
    assert "b.2" in [peer.name for peer in await other.renew("b.2", LEASE)]
    await other.close()


async def test_a_lease_that_is_over_is_not_renewed_even_if_nobody_has_seen_it(store: Store, store_url: str) -> None:
    await store.join("a", "here", LEASE)
    await expire(store_url, "a")
    with pytest.raises(StaleEpoch):
        await store.renew("a", LEASE)


async def test_another_region_takes_over_only_where_nobody_is_left_under_the_next_global_epoch(
    store: Store, store_url: str
) -> None:
    dead, neighbour = await joined(store_url, "b"), await joined(store_url, "c")
    await store.join("a", "there", LEASE)
    (task,) = await owned(store, owner="b")
    await store.revise(task.task_id, task.epoch, "{}")
    await cut(store_url, "b")
    assert await store.adopt_tasks("a", "there", limit=9) == []
    await neighbour.leave("c")
    (taken,) = await store.adopt_tasks("a", "there", limit=9)
    assert (taken.task_id, taken.epoch) == (task.task_id, Epoch(1, 0))
    await dead.close()
    await neighbour.close()


async def test_the_tasks_of_an_owner_that_nobody_knows_are_adopted(store: Store) -> None:
    await owned(store, 2, owner="never joined")
    await store.join("a", "here", LEASE)
    assert len(await store.adopt_tasks("a", "here", limit=9)) == 2


async def test_what_has_ended_is_not_adopted(store: Store) -> None:
    ended, cancelled, going = await owned(store, 3, owner="dead")
    await store.cancel(cancelled.task_id)
    await store.finish([Finish(task_id=ended.task_id, epoch=ended.epoch, state=TaskState.FAILED, summary="{}")])
    assert numbers(await store.adopt_tasks("a", "here", limit=9)) == [going.task_id]


async def test_the_dead_are_forgotten_once_they_own_nothing(store: Store, store_url: str) -> None:
    other = await joined(store_url, "b")
    await store.join("a", "here", LEASE)
    await owned(store, owner="b")
    await cut(store_url, "b")
    assert await store.renew("a", LEASE) == [Peer("a", "here")]
    assert await _names(store_url) == ["a", "b"]
    await store.adopt_tasks("a", "here", limit=9)
    await store.renew("a", LEASE)
    assert await _names(store_url) == ["a"]
    await other.close()


async def _names(url: str) -> list[str]:
    async with eyes(url) as connection:
        return [row["name"] for row in await connection.fetch("select name from coordinators order by name")]


async def test_a_lost_connection_costs_no_lease(store: Store, store_url: str) -> None:
    await store.join("a", "here", LEASE)
    for _ in range(2):
        await cut(store_url, "a")
        await store.renew("a", LEASE)
        await store.renew("a", LEASE)
        async with eyes(store_url) as connection:
            held = await connection.fetch(
                "select mode from pg_locks join coordinators on objid = lock::oid where locktype = 'advisory'"
            )
        assert len(held) == 1


async def test_who_leaves_gives_up_everything_at_once_under_the_next_epoch(store: Store, store_url: str) -> None:
    leaver = await joined(store_url, "b")
    tasks = await owned(store, 3, owner="b")
    await leaver.leave("b")
    claimed = await store.claim_tasks("a", "here", limit=9)
    assert numbers(claimed) == numbers(tasks)
    assert {task.epoch for task in claimed} == {Epoch(0, 1)}
    assert await leaver.dispatch([dispatch(task) for task in tasks]) == [None] * 3
    await leaver.leave("b")
    await leaver.close()


async def test_what_was_given_up_goes_to_another_region_under_the_next_global_epoch(
    store: Store, store_url: str
) -> None:
    leaver = await joined(store_url, "b")
    await owned(store, owner="b")
    await leaver.leave("b")
    (task,) = await store.claim_tasks("a", "there", limit=9)
    assert task.epoch == Epoch(1, 0)
    await leaver.close()


async def test_a_task_that_nobody_had_keeps_its_epoch(store: Store) -> None:
    await store.submit_tasks([graph(), graph(region="there")])
    assert [task.epoch for task in await store.claim_tasks("a", "here", limit=9)] == [Epoch(0, 0)] * 2
    assert await store.claim_tasks("b", "here", limit=9) == []


@pytest.mark.parametrize("rounds", range(5))
async def test_a_claim_takes_users_in_equal_parts(store: Store, rounds: int) -> None:
    await store.submit_tasks([graph(user="many")] * 100 + [graph(user="some")] * 50 + [graph(user="one")])
    claimed = await store.claim_tasks("a", "here", limit=61)
    parts = Counter(task.user_id for task in claimed)
    assert sorted(parts.values()) == [1, 30, 30]
    rest = await store.claim_tasks("a", "here", limit=200)
    assert len({task.task_id for task in claimed + rest}) == 151


async def test_more_users_than_a_claim_takes_are_all_served_in_time(store: Store) -> None:
    await store.submit_tasks([graph(user=f"u{n}") for n in range(30) for _ in range(100)])
    served: set[int] = set()
    for _ in range(200):
        claimed = await store.claim_tasks("a", "here", limit=3)
        assert len({task.user_id for task in claimed}) == 3
        served |= {task.user_id for task in claimed}
        if len(served) == 30:
            return
    pytest.fail(f"only {len(served)} of 30 users had a turn")


async def test_of_a_users_tasks_the_most_urgent_is_claimed_first_then_the_oldest(store: Store) -> None:
    priorities = [0, 5, -3, 5, 0]
    ids = [each.task_id for each in await store.submit_tasks([graph(priority=each) for each in priorities])]
    order = [task.task_id for _ in priorities for task in await store.claim_tasks("a", "here", limit=1)]
    assert order == [ids[1], ids[3], ids[0], ids[4], ids[2]]


async def test_concurrent_claims_give_each_task_one_owner(store: Store) -> None:
    accepted = await store.submit_tasks([graph(user=f"u{n % 7}") for n in range(300)])

    async def claim_all(owner: str) -> list[int]:
        mine: list[int] = []
        while claimed := await store.claim_tasks(owner, "here", limit=13):
            mine += numbers(claimed)
        assert sorted(mine) == await store.owned_tasks(owner)
        return mine

    claims = await asyncio.gather(*(claim_all(f"c{n}") for n in range(6)))
    assert sorted(number for mine in claims for number in mine) == [each.task_id for each in accepted]


async def test_concurrent_adoptions_give_each_task_one_owner(store: Store) -> None:
    tasks = await owned(store, 200, owner="dead")

    async def adopt_some(owner: str) -> list[int]:
        mine: list[int] = []
        while len(await store.owned_tasks("dead")) and (taken := await store.adopt_tasks(owner, "here", limit=13)):
            mine += numbers(taken)
        return mine

    adopters = [f"c{n}" for n in range(5)]
    for name in adopters:
        async with asyncio.timeout(30):
            await store.join(name, "here", LEASE)
    adopted = await asyncio.gather(*map(adopt_some, adopters))
    rest = await adopt_some("c0")
    assert sorted([number for mine in adopted for number in mine] + rest) == numbers(tasks)
    rows = await store.tasks(limit=1000)
    assert {row.epoch for row in rows} == {Epoch(0, 1)}


async def test_what_was_committed_but_never_answered_is_found(store: Store) -> None:
    tasks = await owned(store, 2, owner="a")
    await owned(store, owner="b")
    assert await store.owned_tasks("a") == numbers(tasks)


@pytest.mark.parametrize("rounds", range(3))
async def test_no_dispatch_under_an_old_epoch_after_adoption_and_none_before_it_is_missed(
    store: Store, store_url: str, rounds: int
) -> None:
    tasks = await owned(store, 40, owner="dead")
    other = await Store.connect(store_url, pool_size=2)
    await other.join("a", "here", LEASE)
    dispatched: set[int] = set()
    seen: set[int] = set()

    async def go_on(task: OwnedTask) -> None:
        for node in range(6):
            if None in await store.dispatch([dispatch(task, node_id=str(node))]):
                return
            dispatched.add(task.task_id * 10 + node)

    async def take_over() -> None:
        taken: list[OwnedTask] = []
        while len(taken) < len(tasks):
            batch = await other.adopt_tasks("a", "here", limit=7)
            taken += batch
            seen.update(row.task_id * 10 + int(row.node_id) for row in await other.nodes_of(numbers(batch)))

    await asyncio.gather(take_over(), *map(go_on, tasks))
    assert seen == dispatched
    assert await store.dispatch([dispatch(task, node_id="late") for task in tasks]) == [None] * 40
    await other.close()


HOLDER = """
import asyncio, sys
from store import Store

async def hold(url):
    store = await Store.connect(url)
    await store.join("killed", "here", 600.0)
    print("joined", flush=True)
    await asyncio.Event().wait()

asyncio.run(hold(sys.argv[1]))
"""


@pytest.mark.kills
async def test_the_tasks_of_a_killed_process_are_free_in_seconds_not_after_its_lease(
    store: Store, store_url: str
) -> None:
    (task,) = await owned(store, owner="killed")
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", HOLDER, store_url, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"joined\n"
    await store.join("a", "here", LEASE)
    assert await store.adopt_tasks("a", "here", limit=9) == []
    process.kill()
    await process.wait()
    async with asyncio.timeout(60):
        while not (taken := await store.adopt_tasks("a", "here", limit=9)):  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.05)
    assert numbers(taken) == [task.task_id]
