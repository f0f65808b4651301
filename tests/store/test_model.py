from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import asyncpg
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from core.errors import NotFound, StaleEpoch
from store import Epoch, Store
from tests.store.helpers import event, outcomes
from tests.store.model import Model

T = TypeVar("T")
epochs = st.builds(Epoch, st.integers(0, 2), st.integers(0, 2))
nodes = st.sampled_from(["a", "b"])
texts = st.sampled_from(["{}", '{"x": 1}', '{"x": "\\u0000"}'])
UNKNOWN = 2**40


def outcome(call: Callable[[], object]) -> type[Exception] | None:
    try:
        call()
    except (NotFound, StaleEpoch) as error:
        return type(error)
    return None


class Comparison(RuleBasedStateMachine):
    """Does the same to the store and to the model, and compares."""

    run: Callable[[Coroutine[Any, Any, Any]], Any]
    store: Store
    eyes: asyncpg.Connection

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.name = uuid.uuid4().hex

    tasks = Bundle("tasks")

    def both(self, real: Coroutine[Any, Any, None], modelled: Callable[[], None]) -> None:
        assert outcome(lambda: self.run(real)) == outcome(modelled)

    @precondition(lambda self: len(self.model.tasks) < 2)  # few, so that writes meet
    @rule(target=tasks, epoch=epochs)
    def create_task(self, epoch: Epoch) -> int:
        task_id: int = self.run(self.store.create_task(1, "chat", "{}", epoch=epoch))
        self.model.tasks[task_id] = (epoch, "{}")
        return task_id

    @rule(task=tasks | st.just(UNKNOWN), epoch=epochs, text=texts)
    def update_description(self, task: int, epoch: Epoch, text: str) -> None:
        real = self.store.update_task_description(task, epoch.global_epoch, epoch.regional_epoch, text)
        self.both(real, lambda: self.model.update_description(task, epoch, text))

    @rule(task=tasks | st.just(UNKNOWN), node=nodes, epoch=epochs, text=texts)
    def save_progress(self, task: int, node: str, epoch: Epoch, text: str) -> None:
        pair = {"global_epoch": epoch.global_epoch, "regional_epoch": epoch.regional_epoch}
        self.both(
            self.store.save_progress(task, node, text, **pair),
            lambda: self.model.save_progress((task, node), epoch, text),
        )

    @rule(
        drawn=st.lists(
            st.fixed_dictionaries(
                {
                    "event_id": st.sampled_from("123456789"),
                    "task_id": tasks | st.just(UNKNOWN) | st.none(),
                    "node_id": nodes,
                    "epoch": epochs,
                    "result": texts,
                    "response": st.none() | texts,
                    "final": st.sampled_from([True, True, True, False]),
                    "reached_provider": st.booleans(),
                }
            ),
            max_size=6,
        )
    )
    def fold(self, drawn: list[dict[str, Any]]) -> None:
        batch = [
            event(**each | {"event_id": self.name + each["event_id"], "request_id": self.name}) for each in drawn
        ]
        assert self.run(outcomes(self.store, batch)) == self.model.fold(batch)

    @rule(task=consumes(tasks))
    def delete_task(self, task: int) -> None:
        self.run(self.store.delete_task(task))
        self.model.delete_task(task)

    @rule(task=tasks, node=nodes)
    def delete_progress(self, task: int, node: str) -> None:
        self.run(self.store.delete_progress(task, node))
        self.model.results.pop((task, node), None)

    @invariant()
    def the_tables_are_the_model(self) -> None:
        self.run(self._compare())

    async def _compare(self) -> None:
        descriptions = {task: await self.store.get_task_description(task) for task in self.model.tasks}
        assert descriptions == {task: description for task, (_, description) in self.model.tasks.items()}
        results = [row for task in self.model.tasks for row in await self.store.get_progress_list(task)]
        assert len(results) == len(self.model.results)
        for task_id, node_id, *epoch, result in results:
            await self._compare_result(task_id, node_id, Epoch(*epoch), result)
        ledger = await self.eyes.fetch("select event_id from ledger where request_id = $1", self.name)
        assert sorted(each["event_id"] for each in ledger) == sorted(self.model.ledger)

    async def _compare_result(self, task_id: int, node_id: str, epoch: Epoch, result: str) -> None:
        expected = self.model.results[task_id, node_id]
        row = "select event_id from progress where (task_id, node_id) = ($1, $2)"
        assert (epoch, await self.eyes.fetchval(row, task_id, node_id)) == (expected.epoch, expected.event_id)
        if expected.response is None:
            assert result == expected.result
            return
        stored = json.loads(result)
        assert await self.store.get_document(stored.pop("document")) == expected.response
        assert stored == json.loads(expected.result)


def test_the_store_does_what_the_model_says(store_url: str) -> None:
    loop = asyncio.new_event_loop()

    def run(call: Awaitable[T]) -> T:
        return loop.run_until_complete(call)

    store = run(Store.connect(store_url, pool_size=1))
    eyes = run(asyncpg.connect(store_url))
    machine = type("Machine", (Comparison,), {"run": staticmethod(run), "store": store, "eyes": eyes})
    options = settings(
        max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    try:
        run_state_machine_as_test(machine, settings=options)
    finally:
        run(eyes.close())
        run(store.close())
        loop.close()
