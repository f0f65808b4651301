"""The tasks that this coordinator owns, in memory: which node is next, what is outstanding. No I/O, no clock.

submitted, claimed, adopted ─► add ─► ready nodes in a line per model ─► take ─► dispatched ─► settled
                                             ▲                             │                      │
                                             └────────── put_back ◄────────┘                      │
                                             └──────── a retry, or the next nodes ◄───────────────┘
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from coordinator.graph.graph import Graph, NodeStatus
from coordinator.tasks.lane import Lane
from coordinator.tasks.news import Settled
from policy.durations import Durations
from policy.order import Offer, Order
from policy.window import Demand, Fleet, part
from store import NodeRow, OwnedTask

# Tokens of a call of a model that nothing is known of yet, and the bounds of what is kept in memory.
TOKENS = 500.0
MOST_NODES = 200_000
MOST_TASKS = 20_000
# Output tokens count twice in a user's share (Sheng et al., https://arxiv.org/abs/2401.00588).
OUTPUT_WEIGHT = 2


@dataclass(slots=True)
class Flight:
    """A node that was dispatched. `at`: monotonic seconds; None where an earlier owner dispatched it."""

    request_id: str
    model: str
    at: float | None
    charged: float


@dataclass(slots=True)
class Held:
    """One task. `flights` by node."""

    task: OwnedTask
    graph: Graph
    flights: dict[str, Flight] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pick:
    """A node whose turn it is. `serve_by`: what its worker is told, see `RequestMessage`."""

    held: Held
    node_id: str
    model: str
    charged: float
    serve_by: float | None = None


class Board:
    """Plain objects on one event loop. `name`: of this coordinator, for the others. `special`: the lane of a model
    that has one of its own kind, as the stages of pipelines do.
    """

    def __init__(self, name: str, order: Order, special: Callable[[str], Lane | None]) -> None:
        self._name = name
        self._order = order
        self._special = special
        self._held: dict[int, Held] = {}
        self._lanes: dict[str, Lane] = {}
        self._dropped: list[tuple[Held, str]] = []
        self._nodes = 0
        self._outstanding: Counter[str] = Counter()
        self._leaving: Counter[str] = Counter()
        self._seconds = Durations()
        self._tokens = Durations(TOKENS)

    def __len__(self) -> int:
        return len(self._held)

    def get(self, task_id: int) -> Held | None:
        """The task, if it is here."""
        return self._held.get(task_id)

    def room(self) -> int:
        """How many more tasks may be claimed."""
        return max(0, MOST_TASKS - len(self._held)) if self._nodes < MOST_NODES else 0

    def add(self, task: OwnedTask, graph: Graph, rows: Iterable[NodeRow] = ()) -> Held:
        """A task that is ours from now on; `rows`: what was dispatched or settled under earlier owners."""
        self.drop(task.task_id)
        held = self._held[task.task_id] = Held(task, graph)
        for row in rows:
            if row.result is None and row.request_id is not None and row.model is not None:
                held.flights[row.node_id] = Flight(row.request_id, row.model, None, 0.0)
                self._outstanding[row.model] += 1
        graph.weigh(self._seconds.expect)
        self._nodes += graph.size
        self.offer(held)
        return held

    def drop(self, task_id: int) -> Held | None:
        """Forgets a task: it has ended, or it is another's."""
        held = self._held.pop(task_id, None)
        if held is None:
            return None
        self._nodes -= held.graph.size
        for flight in held.flights.values():
            self._outstanding[flight.model] -= 1
        for model in held.graph.models():
            if lane := self._lanes.get(model):
                lane.drop(task_id)
        return held

    def clear(self) -> None:
        """Forgets everything."""
        for task_id in list(self._held):
            self.drop(task_id)

    def offer(self, held: Held) -> None:
        """Puts what has become ready into the lines."""
        graph = held.graph
        offer = self._offer(held)
        for node_id in graph.take_ready():
            lane = self._lane(graph.spec(node_id).model)
            lane.shares.weight(held.task.user_id, held.task.weight)
            lane.push(offer, node_id, graph.tail(node_id))

    def take(
        self, fleets: Mapping[str, Fleet], others: Mapping[str, list[Demand]], now: float, limit: int
    ) -> list[Pick]:
        """The nodes whose turn it is, at most `limit`: of each model as many as may be outstanding more.

        `others`: what the other coordinators want, see `policy.window.part`.
        """
        picks: list[Pick] = []
        for model, lane in self._lanes.items():
            peers, mine = others.get(model, []), self._demand(model)
            outstanding = mine.outstanding + sum(peer.outstanding for peer in peers)
            whole = lane.window(fleets.get(model, Fleet()), outstanding, now)
            if len(lane):
                room = part(whole, peers, mine) - mine.outstanding
                first = self._first(lane, model, min(room, limit - len(picks)))
                self._leaving[model] += len(first)
                picks += first
        return picks

    def take_dropped(self) -> list[tuple[Held, str]]:
        """Tasks of which `take` has found that they cannot make their deadline, and at which node; each once."""
        dropped, self._dropped = self._dropped, []
        return dropped

    def restless(self) -> bool:
        """Whether time alone may bring something about: a drop."""
        return any(lane.drops and len(lane) for lane in self._lanes.values())

    def stages_changed(self, models: Iterable[str]) -> list[int]:
        """The lanes of these models are others now. Tasks that must be added anew, to be in them."""
        gone = {model for model in models if self._lanes.pop(model, None) is not None}
        return [task_id for task_id, held in self._held.items() if gone & held.graph.models()]

    def left(self, picks: Iterable[Pick]) -> None:
        """Nodes that were taken have been dispatched, put back or given up: until then they count as outstanding."""
        for pick in picks:
            self._leaving[pick.model] -= 1

    def put_back(self, picks: Iterable[Pick]) -> None:
        """Nodes that were taken and could not be dispatched."""
        for pick in picks:
            if self._held.get(pick.held.task.task_id) is pick.held:
                lane, graph = self._lane(pick.model), pick.held.graph
                lane.shares.charge(pick.held.task.user_id, -pick.charged)
                lane.push(self._offer(pick.held), pick.node_id, graph.tail(pick.node_id))

    def dispatched(self, pick: Pick, request_id: str, now: float) -> None:
        """The dispatch has been committed. That of a task that is here no more is its next owner's."""
        if self._held.get(pick.held.task.task_id) is not pick.held:
            return
        pick.held.graph.dispatched(pick.node_id)
        pick.held.flights[pick.node_id] = Flight(request_id, pick.model, now, pick.charged)
        self._outstanding[pick.model] += 1

    def settle(self, news: Settled, now: float) -> Held | None:
        """A node has its result. The task, if that is news for it."""
        held = self._held.get(news.task_id)
        if held is None:
            return None
        flight = held.flights.get(news.node_id)
        if news.result.outcome != "completed" and (flight is None or flight.request_id != news.request_id):
            return None  # a failure of an earlier dispatch, told once more
        if not held.graph.settle(news.node_id, news.result):
            return None
        if flight is not None:
            del held.flights[news.node_id]
            self._landed(held, flight, news, now)
        self.offer(held)
        offer = self._offer(held)
        for model in held.graph.models():
            if lane := self._lanes.get(model):
                lane.update(offer)
        return held

    def demands(self) -> dict[str, Demand]:
        """What is outstanding and waiting, by model; for the other coordinators."""
        models = {*self._lanes, *self._outstanding, *self._leaving}
        told = {model: self._demand(model) for model in models}
        return {model: demand for model, demand in told.items() if demand.outstanding or demand.waiting}

    def outstanding_since(self, moment: float) -> list[tuple[int, str]]:
        """Nodes that were dispatched at `moment` or before, and have no result here."""
        return [
            (task_id, node_id)
            for task_id, held in self._held.items()
            for node_id, flight in held.flights.items()
            if flight.at is None or flight.at <= moment
        ]

    def overdue(self, now: float) -> list[Held]:
        """Tasks whose deadline, in Unix seconds, has passed."""
        return [held for held in self._held.values() if held.task.deadline is not None and held.task.deadline <= now]

    def idle(self) -> list[int]:
        """Tasks that wait for more nodes: neither a result nor a refusal will tell that they have changed."""
        return [
            task_id
            for task_id, held in self._held.items()
            if held.graph.description.open and not held.flights and not held.graph.counts()[NodeStatus.READY]
        ]

    def _landed(self, held: Held, flight: Flight, news: Settled, now: float) -> None:
        model, result = flight.model, news.result
        self._outstanding[model] -= 1
        lane = self._lane(model)
        lane.landed(now, news.served)
        if flight.at is None or result.outcome != "completed":
            return
        if news.served is not None:
            self._seconds.learn(model, news.served.finished_at - news.served.started_at)
        tokens = result.usage.prompt_tokens + OUTPUT_WEIGHT * result.usage.completion_tokens
        self._tokens.learn(model, tokens)
        lane.shares.charge(held.task.user_id, tokens - flight.charged)

    def _first(self, lane: Lane, model: str, room: int) -> list[Pick]:
        charged = self._tokens.expect(model)
        turn = lane.take(max(0, room), lambda task_id: lane.shares.charge(self._held[task_id].task.user_id, charged))
        self._dropped += [(self._held[task_id], node_id) for task_id, node_id in turn.dropped]
        picks: list[Pick] = []
        for task_id, node_id in turn.leaving:
            held = self._held[task_id]
            if held.graph.status(node_id) is NodeStatus.READY:
                picks.append(Pick(held, node_id, model, charged, turn.serve_by(held.task.deadline)))
            else:  # it was stopped
                lane.shares.charge(held.task.user_id, -charged)
        return picks

    def _demand(self, model: str) -> Demand:
        lane = self._lanes.get(model)
        outstanding = self._outstanding[model] + self._leaving[model]
        return Demand(self._name, outstanding, 0 if lane is None else len(lane))

    def _offer(self, held: Held) -> Offer:
        task, graph = held.task, held.graph
        return Offer(
            task=task.task_id,
            user=task.user_id,
            arrived_at=task.created_at,
            work=graph.work,
            deadline=task.deadline,
            priority=task.priority,
        )

    def _lane(self, model: str) -> Lane:
        if model not in self._lanes:
            special = self._special(model)
            self._lanes[model] = Lane(self._order) if special is None else special
        return self._lanes[model]
