"""Carries the board's tasks on: takes tasks over, dispatches nodes as their turn comes, ends tasks.

One loop does one thing after the other, each for all tasks at once; what is heard meanwhile waits for its next turn.
What the store refuses, because the task is another's by now or has ended, is looked up there and believed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import msgspec

from bus.messages import NO_USAGE
from coordinator.graph.graph import Graph, NodeStatus
from coordinator.metrics import DISPATCHED, FINISHED, REFUSED, TAKEN_OVER
from coordinator.noderesult import NodeResult
from coordinator.tasks.board import Board, Held, Pick
from coordinator.tasks.budget import over_budget
from coordinator.tasks.demands import Demands
from coordinator.tasks.departures import Departures, Ready, Spoiled
from coordinator.tasks.loading import expand, load, settled_of
from coordinator.tasks.news import News, Newsroom, Settled
from coordinator.tasks.ownership import Ownership
from coordinator.tasks.prices import Prices
from coordinator.tasks.stopping import Stopping
from coordinator.tasks.summary import budget_spent, summary_of, too_late, unreachable
from core.errors import StoreUnavailable
from core.liveness import Beat
from policy.window import Fleet
from store import Finish, InFlight, OwnedTask, Store

log = logging.getLogger(__name__)

# How often what nobody tells is looked at: tasks without an owner, a dead owner's tasks, news that were lost.
LOOK_SECONDS = 1.0
LOST_SECONDS = 3.0
# Tasks may be ours without our knowing, where the store's answer was lost.
COUNT_SECONDS = 10.0
PAUSE_SECONDS = 0.5
# How often requests are dropped that wait before a stage and have no hope.
DROP_SECONDS = 0.05
BATCH = 500
# Dispatches under way at once.
SENDING = 2


class Dispatcher:
    """One coordinator's. `fleets`: the workers of each model. `ended` hears of each task that has ended here."""

    def __init__(
        self,
        *,
        store: Store,
        board: Board,
        ownership: Ownership,
        newsroom: Newsroom,
        departures: Departures,
        stopping: Stopping,
        fleets: Callable[[], Mapping[str, Fleet]],
        prices: Prices,
        ended: Callable[[Held], None],
    ) -> None:
        self._store = store
        self._board = board
        self._ownership = ownership
        self._newsroom = newsroom
        self._departures = departures
        self._stopping = stopping
        self._fleets = fleets
        self._prices = prices
        self._tell_end = ended
        self._demands = Demands()
        self._wake = asyncio.Event()
        self._sending: set[asyncio.Task[None]] = set()
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._look_at = self._count_at = 0.0
        # Tasks to be looked up in the store, to be given their instances, and to be ended.
        self._doubtful: set[int] = set()
        self._listing: set[int] = set()
        self._ended: set[int] = set()
        newsroom.add(self._hear)

    async def run(self, beat: Beat) -> None:
        """Works until cancelled. Raises what a dispatch has raised."""
        try:
            while not self._failed.done():
                beat.beat()
                await self._woken()
                try:
                    await self._turn()
                except StoreUnavailable as error:
                    log.warning("tasks wait for the store: %s", error)
                    await asyncio.sleep(PAUSE_SECONDS)
            self._failed.result()
        finally:
            for task in self._sending:
                task.cancel()

    def own(self, owner: str, task: OwnedTask, graph: Graph) -> None:
        """A task was submitted here under the name `owner`. If that is not ours any more, others adopt the task."""
        if owner == self._ownership.name:
            self._moved(self._board.add(task, graph))

    def look_up(self, task_id: int) -> None:
        """A task may be another's by now, or have changed."""
        self._doubtful.add(task_id)
        self._wake.set()

    def stages_changed(self, models: Iterable[str]) -> None:
        """These models have come to a pipeline, or have left theirs."""
        self._doubtful.update(self._board.stages_changed(models))
        self._wake.set()

    def lose(self) -> None:
        """Everything here is another's."""
        self._board.clear()
        for doubts in (self._doubtful, self._listing, self._ended):
            doubts.clear()

    async def _woken(self) -> None:
        seconds = max(0.0, self._look_at - time.monotonic())
        try:
            async with asyncio.timeout(min(seconds, DROP_SECONDS) if self._board.restless() else seconds):
                await self._wake.wait()
        except TimeoutError:
            return
        self._wake.clear()

    def _hear(self, news: News) -> None:
        now = time.monotonic()
        for each in news.settled:
            if held := self._board.settle(each, now):
                self._moved(held)
        for task_id in news.changed:
            if self._board.get(task_id) is not None:
                self.look_up(task_id)
        if news.demands and news.sender != self._newsroom.sender:
            self._demands.heard(news.sender, news.demands, now)

    def _moved(self, held: Held) -> None:
        """Something has happened to a task: what is next for it?"""
        graph, task_id = held.graph, held.task.task_id
        if graph.state is None and over_budget(graph, self._prices):
            graph.stop(NodeStatus.SKIPPED, budget_spent())
        if graph.state is not None:
            self._ended.add(task_id)
        elif graph.wanted_lists():
            self._listing.add(task_id)
        self._wake.set()

    async def _turn(self) -> None:
        if (now := time.monotonic()) >= self._look_at:
            self._look_at = now + LOOK_SECONDS
            await self._look(now)
        if self._doubtful:
            await self._look_up()
        if self._listing:
            await self._make_instances()
        if self._ended:
            await self._end()
        self._dispatch()

    async def _look(self, now: float) -> None:
        self._expire()
        if not self._ownership.alone:
            self._newsroom.tell(demands=self._board.demands())
        owner, region = self._ownership.name, self._ownership.region
        adopted = await self._store.adopt_tasks(owner, region, limit=BATCH)
        TAKEN_OVER.inc(len(adopted))
        claimed = await self._store.claim_tasks(owner, region, limit=room) if (room := self._room()) else []
        await self._hold([*adopted, *claimed])
        if len(adopted) == BATCH or (claimed and len(claimed) == room):
            self._look_at = 0.0
        if lost := self._board.outstanding_since(now - LOST_SECONDS):
            rows = await self._store.settled_among(lost)
            self._newsroom.tell(settled=settled_of(rows))
        await self._look_up_idle()
        if now >= self._count_at:
            self._count_at = now + COUNT_SECONDS
            self._doubtful |= {each for each in await self._store.owned_tasks(owner) if self._board.get(each) is None}

    def _room(self) -> int:
        return min(BATCH, self._board.room())

    def _expire(self) -> None:
        now = time.time()
        for held in self._board.overdue(now):
            held.graph.stop(NodeStatus.EXPIRED, too_late())
            self._moved(held)

    async def _look_up_idle(self) -> None:
        """News of a revision may have been lost."""
        idle = self._board.idle()
        if not idle:
            return
        owned = await self._store.reload_tasks(self._ownership.name, idle)
        epochs = {task.task_id: task.epoch for task in owned}
        held = {each.task.task_id: each.task.epoch for each in map(self._board.get, idle) if each is not None}
        self._doubtful |= {task_id for task_id, epoch in held.items() if epochs.get(task_id) != epoch}

    async def _look_up(self) -> None:
        with _taken(self._doubtful) as doubtful:
            owned = await self._store.reload_tasks(self._ownership.name, list(doubtful))
            await self._hold(owned)
        for task_id in doubtful - {task.task_id for task in owned}:
            self._board.drop(task_id)

    async def _hold(self, tasks: Sequence[OwnedTask]) -> None:
        if not tasks:
            return
        loaded = await load(self._store, [(task.task_id, task.description) for task in tasks])
        for task in tasks:
            graph, rows = loaded[task.task_id]
            self._moved(self._board.add(task, graph, rows))

    async def _make_instances(self) -> None:
        with _taken(self._listing) as listing:
            tasks = [held for held in map(self._board.get, listing) if held is not None]
            await expand(self._store, [held.graph for held in tasks])
        for held in tasks:
            self._board.offer(held)
            self._moved(held)

    async def _end(self) -> None:
        with _taken(self._ended) as ended:
            ending = [
                (held, Finish(task_id=task_id, epoch=held.task.epoch, state=state, summary=summary_of(held.graph)))
                for task_id in ended
                if (held := self._board.get(task_id)) is not None and (state := held.graph.state) is not None
            ]
            outcomes = await self._store.finish([finish for _, finish in ending])
        for (held, finish), done in zip(ending, outcomes, strict=True):
            if not done:
                self._refused("finish", finish.task_id)
                continue
            FINISHED.labels(finish.state).inc()
            self._tell_end(held)
            self._board.drop(finish.task_id)
            self._stopping.stop([InFlight(each.model, each.request_id) for each in held.flights.values()])
        done_ids = [finish.task_id for (_, finish), done in zip(ending, outcomes, strict=True) if done]
        self._newsroom.tell(changed=done_ids)

    def _dispatch(self) -> None:
        """Sends out the nodes whose turn it is; while one batch is committed, the next is gathered and made."""
        while len(self._sending) < SENDING:
            now = time.monotonic()
            picks = self._board.take(self._fleets(), self._demands.of_others(now), now, BATCH)
            self._drop()
            if not picks:
                return
            task = asyncio.create_task(self._send(picks), name="dispatch")
            self._sending.add(task)
            task.add_done_callback(self._sent)

    def _drop(self) -> None:
        for held, node_id in self._board.take_dropped():
            held.graph.stop(NodeStatus.EXPIRED, unreachable(node_id))
            self._moved(held)

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        self._wake.set()
        if not task.cancelled() and (error := task.exception()) and not self._failed.done():
            self._failed.set_exception(error)

    async def _send(self, picks: Sequence[Pick]) -> None:
        try:
            await self._commit(picks)
        finally:
            self._board.left(picks)

    async def _commit(self, picks: Sequence[Pick]) -> None:
        try:
            ready, spoiled = await self._departures.prepare(picks)
            outcomes = await self._store.dispatch([each.dispatch for each in ready]) if ready else []
        except StoreUnavailable as error:
            log.warning("%d nodes wait for the store: %s", len(picks), error)
            await asyncio.sleep(PAUSE_SECONDS)
            # What of it was committed all the same is refused the next time, and then looked up.
            self._board.put_back(picks)
            return
        sent: list[tuple[Ready, int]] = []
        for each, outbox_id in zip(ready, outcomes, strict=True):
            if outbox_id is None:
                self._refused("dispatch", each.pick.held.task.task_id)
                continue
            self._board.dispatched(each.pick, each.dispatch.request_id, time.monotonic())
            sent.append((each, outbox_id))
        DISPATCHED.inc(len(sent))
        if sent:
            self._departures.publish(sent)
        for each_spoiled in spoiled:
            await self._spoil(each_spoiled)

    async def _spoil(self, spoiled: Spoiled) -> None:
        held, node_id = spoiled.pick.held, spoiled.pick.node_id
        result = NodeResult(outcome="failed", status=400, usage=NO_USAGE, error=spoiled.error)
        text = msgspec.json.encode(result).decode()
        try:
            settled = await self._store.settle_node(held.task.task_id, held.task.epoch, node_id, text)
        except StoreUnavailable as error:
            log.warning("a node that cannot be called waits for the store: %s", error)
            self._board.put_back([spoiled.pick])
            return
        if not settled:
            self._refused("result", held.task.task_id)
            return
        held.graph.fail(node_id, spoiled.error)
        self._moved(held)
        self._newsroom.tell(settled=[Settled(held.task.task_id, node_id, None, result)])

    def _refused(self, write: str, task_id: int) -> None:
        log.info("a %s of task %d was refused: it is another's by now, or has changed", write, task_id)
        REFUSED.labels(write).inc()
        self._ownership.doubt()
        self.look_up(task_id)


@contextlib.contextmanager
def _taken(tasks: set[int]) -> Iterator[set[int]]:
    """Takes what is in the set; where the block fails it is put back, beside what has come meanwhile."""
    taken = set(tasks)
    tasks.clear()
    try:
        yield taken
    except StoreUnavailable:
        tasks |= taken
        raise
