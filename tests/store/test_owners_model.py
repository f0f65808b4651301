"""Owners of graphs against a model on plain dictionaries: whatever dies, one owner a task and one dispatch a node."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from core.errors import StaleEpoch
from store import Epoch, Finish, OwnedTask, Peer, Store, TaskState
from tests.store.helpers import cut, dispatch, event, expire, eyes, graph

LEASE = 600.0
FIRST = Epoch(0, 0)
regions = st.sampled_from(["here", "there"])


@dataclass
class Coordinator:
    """`alive`: by its lock. `leased`: by its lease. `known`: it has a row. `holds`: what it believes to own."""

    name: str
    region: str
    store: Store
    alive: bool = True
    leased: bool = True
    known: bool = True
    holds: dict[int, OwnedTask] = field(default_factory=dict)

    @property
    def lives(self) -> bool:
        return self.alive and self.leased and self.known


@dataclass
class Task:
    region: str
    owner: str | None
    epoch: Epoch = FIRST
    open: bool = True
    dispatched: set[str] = field(default_factory=set)
    settled: set[str] = field(default_factory=set)


class Owners(RuleBasedStateMachine):
    """Does the same to the store and to the model, and compares."""

    run: Callable[[Coroutine[Any, Any, Any]], Any]
    url: str
    store: Store

    def __init__(self) -> None:
        super().__init__()
        self.tasks: dict[int, Task] = {}
        self.everybody: dict[str, Coordinator] = {}

    coordinators = Bundle("coordinators")

    @initialize()
    def empty(self) -> None:
        async def clear() -> None:
            async with eyes(self.url) as connection:
                await connection.execute("delete from tasks; delete from coordinators")

        self.run(clear())

    @rule(target=coordinators, region=regions)
    def join(self, region: str) -> Coordinator:
        store = self.run(Store.connect(self.url, pool_size=1))
        coordinator = Coordinator(f"c{len(self.everybody)}", region, store)
        self.run(store.join(coordinator.name, region, LEASE))
        self.everybody[coordinator.name] = coordinator
        return coordinator

    @rule(users=st.lists(st.sampled_from("uvw"), min_size=1, max_size=4), by=coordinators, waiting=st.booleans())
    def submit(self, users: list[str], by: Coordinator, waiting: bool) -> None:
        owner = None if waiting else by.name
        new = [graph(user=user, region=by.region, owner=owner) for user in users]
        ids = [each.task_id for each in self.run(self.store.submit_tasks(new))]
        self.tasks |= {task_id: Task(by.region, owner) for task_id in ids}
        if owner:
            self._hold(by, self.run(by.store.reload_tasks(by.name, ids)))

    @rule(who=coordinators)
    def kill(self, who: Coordinator) -> None:
        self.run(cut(self.url, who.name))
        who.alive = False

    @rule(who=coordinators)
    def sleep(self, who: Coordinator) -> None:
        self.run(expire(self.url, who.name))
        who.leased = False

    @rule(who=coordinators)
    def renew(self, who: Coordinator) -> None:
        """A renewal after a lost connection takes the lock again; after a lost lease it is refused."""
        try:
            peers = self.run(who.store.renew(who.name, LEASE))
        except StaleEpoch:
            assert not (who.leased and who.known)
            return
        assert who.leased
        assert who.known
        who.alive = True
        assert peers == [Peer(each.name, each.region) for each in sorted(self._living(), key=lambda each: each.name)]
        owners = {task.owner for task in self.tasks.values() if task.open}
        for each in self.everybody.values():
            each.known &= each.lives or each.name in owners

    @rule(who=coordinators)
    def leave(self, who: Coordinator) -> None:
        self.run(who.store.leave(who.name))
        who.known = False
        for task in self.tasks.values():
            if task.open and task.owner == who.name:
                task.owner, task.epoch = None, Epoch(task.epoch.global_epoch, task.epoch.regional_epoch + 1)

    @rule(who=coordinators, limit=st.integers(1, 5))
    def claim(self, who: Coordinator, limit: int) -> None:
        waiting = {task_id for task_id, task in self.tasks.items() if task.open and task.owner is None}
        claimed = self.run(who.store.claim_tasks(who.name, who.region, limit=limit))
        assert len(claimed) == min(limit, len(waiting))
        assert {task.task_id for task in claimed} <= waiting
        for each in claimed:
            task = self.tasks[each.task_id]
            if task.region != who.region and task.epoch != FIRST:
                task.epoch = Epoch(task.epoch.global_epoch + 1, 0)
            task.owner, task.region = who.name, who.region
        self._hold(who, claimed)

    @rule(who=coordinators, limit=st.integers(1, 5))
    def adopt(self, who: Coordinator, limit: int) -> None:
        living = [who, *(each for each in self._living() if each is not who)]
        names, inhabited = {each.name for each in living}, {each.region for each in self._living()}
        free = {
            task_id
            for task_id, task in self.tasks.items()
            if task.open and task.owner is not None and task.owner not in names
            if task.region == who.region or task.region not in inhabited
        }
        adopted = self.run(who.store.adopt_tasks(who.name, who.region, limit=limit))
        assert len(adopted) == min(limit, len(free))
        assert {task.task_id for task in adopted} <= free
        for each in adopted:
            task = self.tasks[each.task_id]
            here = task.region == who.region
            task.epoch = Epoch(task.epoch.global_epoch + (not here), task.epoch.regional_epoch + 1 if here else 0)
            task.owner, task.region = who.name, who.region
        for each in self.everybody.values():
            each.leased &= each is who or each.lives
        self._hold(who, adopted)

    @rule(who=coordinators, nodes=st.sets(st.sampled_from("ab"), min_size=1))
    def dispatch(self, who: Coordinator, nodes: set[str]) -> None:
        """Of everything that it believes to own, also if it does not any more."""
        batch = [dispatch(held, node_id=node) for held in who.holds.values() for node in sorted(nodes)]
        numbers = self.run(who.store.dispatch(batch))
        for each, number in zip(batch, numbers, strict=True):
            task = self.tasks[each.task_id]
            allowed = task.open and task.epoch == each.epoch and each.node_id not in task.dispatched | task.settled
            assert (number is not None) == allowed
            if allowed:
                assert task.owner == who.name
                task.dispatched.add(each.node_id)

    @rule(who=coordinators)
    def fold(self, who: Coordinator) -> None:
        """Results come whoever owns the task, and whether it has ended."""
        for task_id, task in self.tasks.items():
            if node := next(iter(sorted(task.dispatched - task.settled)), None):
                (fate,) = self.run(who.store.fold([event(task_id=task_id, node_id=node, epoch=task.epoch)]))
                assert fate.graph
                task.settled.add(node)

    @rule(who=coordinators, state=st.sampled_from([TaskState.COMPLETED, TaskState.FAILED]))
    def finish(self, who: Coordinator, state: TaskState) -> None:
        held = list(who.holds.values())[:1]
        batch = [Finish(task_id=each.task_id, epoch=each.epoch, state=state, summary="{}") for each in held]
        for each, finished in zip(batch, self.run(who.store.finish(batch)), strict=True):
            task = self.tasks[each.task_id]
            assert finished == (task.open and task.epoch == each.epoch)
            task.open &= not finished

    @rule(data=st.data(), revise=st.booleans())
    def meddle(self, data: st.DataObject, revise: bool) -> None:
        """A user revises or cancels a task, whoever owns it."""
        going = sorted(task_id for task_id, task in self.tasks.items() if task.open)
        if not going:
            return
        task_id = data.draw(st.sampled_from(going))
        task = self.tasks[task_id]
        if revise:
            task.epoch = self.run(self.store.revise(task_id, task.epoch, "{}"))
        else:
            assert len(self.run(self.store.cancel(task_id))) == len(task.dispatched - task.settled)
            task.open = False

    @rule(who=consumes(coordinators))
    def gone_for_good(self, who: Coordinator) -> None:
        self.run(cut(self.url, who.name))
        self.run(who.store.close())
        who.alive = False

    @invariant()
    def the_tables_are_the_model(self) -> None:
        rows = {row.task_id: row for row in self.run(self.store.tasks(limit=1000))}
        assert set(rows) == set(self.tasks)
        for task_id, task in self.tasks.items():
            row = rows[task_id]
            assert (row.owner, row.epoch, row.state is TaskState.OPEN) == (task.owner, task.epoch, task.open)
        nodes = self.run(self.store.nodes_of(list(self.tasks)))
        assert {(row.task_id, row.node_id) for row in nodes if row.request_id} == {
            (task_id, node) for task_id, task in self.tasks.items() for node in task.dispatched
        }

    def teardown(self) -> None:
        for each in self.everybody.values():
            self.run(each.store.close())

    def _living(self) -> list[Coordinator]:
        return [each for each in self.everybody.values() if each.lives]

    def _hold(self, who: Coordinator, tasks: list[OwnedTask]) -> None:
        who.holds |= {task.task_id: task for task in tasks}


def test_every_task_has_one_owner_and_every_node_one_dispatch_whoever_dies(store_url: str) -> None:
    loop = asyncio.new_event_loop()

    def run(call: Coroutine[Any, Any, Any]) -> Any:
        return loop.run_until_complete(call)

    store = run(Store.connect(store_url, pool_size=1))
    machine = type("Machine", (Owners,), {"run": staticmethod(run), "store": store, "url": store_url})
    options = settings(
        max_examples=20, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    try:
        run_state_machine_as_test(machine, settings=options)
    finally:
        run(store.close())
        loop.close()
