"""A fleet and a store for one graph, in memory: results are made by a seed, rows are what a new owner would read."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from random import Random
from typing import Any

import msgspec

from bus.messages import Outcome
from coordinator.graph.description import Description, decode, encode
from coordinator.graph.graph import Graph, NodeStatus
from coordinator.graph.nodes import MOVES
from coordinator.graph.references import ReferenceFailed
from coordinator.noderesult import NodeResult
from store import NodeRow, TaskState
from tests.coordinator.graph.sketches import answer, result, statuses

# A call's outcome, of a node and an attempt.
Fate = Callable[[str, int], Outcome]


class World:
    """What survives an owner."""

    def __init__(self, standing: Description, fate: Fate) -> None:
        self.description = standing
        self.rows: dict[str, NodeRow] = {}
        self.documents: dict[int, str] = {}
        self.calls: set[tuple[str, int]] = set()
        self.graph = Graph(standing)
        self._fate = fate

    @property
    def in_flight(self) -> list[str]:
        return [row.node_id for row in self.rows.values() if row.result is None]

    def dispatch(self, node_id: str) -> None:
        """Only what has all its inputs is called, and no attempt twice."""
        attempt = self.graph.attempt(node_id)
        contents = {number: self.documents[number] for number in self.graph.documents(node_id)}
        try:
            self.graph.body(node_id, contents)
        except ReferenceFailed as error:
            raise AssertionError("a node was ready without its inputs") from error
        assert (node_id, attempt) not in self.calls
        assert attempt == 1 or (node_id, attempt - 1) in self.calls
        self.calls.add((node_id, attempt))
        self.rows[node_id] = self._row(node_id, attempt, None)
        self.graph.dispatched(node_id)

    def finish(self, node_id: str, *, told: bool = True) -> None:
        """The call ends; if not `told`, its owner does not hear of it."""
        attempt = self.rows[node_id].attempt
        outcome = self._fate(node_id, attempt)
        document = None
        if outcome == "completed":
            document = len(self.documents) + 1
            items = list(range(len(node_id) * 7 % 4))
            self.documents[document] = answer(json.dumps({"list": items}))
        made = result(outcome, document)
        self.rows[node_id] = self._row(node_id, attempt, made)
        if told:
            self.graph.settle(node_id, made, attempt)

    def tell_again(self, node_id: str) -> None:
        row = self.rows[node_id]
        assert row.result is not None
        assert not self.graph.settle(node_id, msgspec.json.decode(row.result, type=NodeResult), row.attempt)

    def expand(self) -> None:
        while wanted := self.graph.wanted_lists():
            for node_id in wanted:
                self.graph.expand(node_id, {each: self.documents[each] for each in self.graph.list_sources(node_id)})

    def change_owner(self, random: Random) -> None:
        rows = list(self.rows.values())
        random.shuffle(rows)
        self.graph = Graph(decode(encode(self.description)))
        self.graph.restore(rows)
        self.expand()

    def _row(self, node_id: str, attempt: int, made: NodeResult | None) -> NodeRow:
        told = None if made is None else msgspec.json.encode(made).decode()
        return NodeRow(
            task_id=1,
            node_id=node_id,
            request_id=f"req_{node_id}_{attempt}",
            model="m",
            attempt=attempt,
            dispatched_at=0.0,
            result=told,
        )


class Moves:
    """Looks at a graph before and after each step: nothing moves that may not."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._before = statuses(world.graph)
        self.seen: set[tuple[NodeStatus, NodeStatus]] = set()

    def look(self, *, anew: bool = False) -> None:
        after = statuses(self._world.graph)
        if not anew:
            both = self._before.keys() & after.keys()
            moved = {(self._before[each], after[each]) for each in both if self._before[each] is not after[each]}
            assert all(later in MOVES.get(earlier, ()) for earlier, later in moved)
            self.seen |= moved
        self._before = after


def play(world: World, random: Random, *, bad_luck: bool, stop_at: int | None = None) -> set[Any]:
    """Plays to the end, one thing after the other by chance. Bad luck: news are lost or come twice, owners change."""
    ready: list[str] = []
    moves = Moves(world)
    for step in range(10_000):
        world.expand()
        ready += world.graph.take_ready()
        moves.look()
        if world.graph.state is not None or step == stop_at:
            break
        flying = world.in_flight
        if bad_luck and random.random() < 0.2:
            world.change_owner(random)
            ready = []
            moves.look(anew=True)
        elif ready and (not flying or random.random() < 0.5):
            world.dispatch(ready.pop(random.randrange(len(ready))))
        elif flying:
            _land(world, random.choice(flying), random, bad_luck=bad_luck)
        elif bad_luck:
            world.change_owner(random)  # what was not told is in the store
            moves.look(anew=True)
        else:
            break
        moves.look()
    return moves.seen


def _land(world: World, node_id: str, random: Random, *, bad_luck: bool) -> None:
    told = not bad_luck or random.random() < 0.8
    world.finish(node_id, told=told)
    if told and bad_luck and random.random() < 0.5:
        world.tell_again(node_id)


def ended(world: World) -> tuple[TaskState | None, dict[str, tuple[NodeStatus, int]]]:
    """How it ended: the task, and each node with its attempts."""
    return world.graph.state, {view.id: (view.status, view.attempts) for view in world.graph.nodes()}


def by_chance(seed: int, rate: float, outcomes: Iterable[Outcome] = ("failed",)) -> Fate:
    """Outcomes that depend on the node and the attempt alone."""

    def fate(node_id: str, attempt: int) -> Outcome:
        random = Random(f"{seed}:{node_id}:{attempt}")
        return random.choice(list(outcomes)) if random.random() < rate else "completed"

    return fate
