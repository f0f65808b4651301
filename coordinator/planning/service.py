"""The planner in a coordinator: tells its load, hears the others', and, in one of them, orders what is planned.

It acts in the living coordinator with the least name. For a moment two may, or none: both know the same loads, and
what they order is repeated and replaces what was ordered before.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Mapping
from typing import Any

from bus import messages
from bus.hearing import hearing
from bus.messages import Control, Notice, RollCall, WorkerNotice, decode_notice
from bus.port import Bus
from bus.scaling import FrontendInformation, Order, decode_scaling
from bus.topics import SCALING_CHANNEL, WORKERS_CHANNEL, control_channel
from coordinator.crew import Crew
from coordinator.planning import metrics
from coordinator.planning.counting import Counting
from coordinator.planning.office import Office, batch_order, in_words
from core.errors import BusError
from core.liveness import Beat
from policy.slo.offered import BUCKET_SECONDS
from policy.slo.pipeline import Pipeline
from policy.slo.planner import Plan

log = logging.getLogger(__name__)

TICK_SECONDS = 0.5
# Orders are repeated, since channels lose frames and workers start at any time.
REPEAT_SECONDS = 2.0

Waiting = Mapping[str, Mapping[str, int]]


class Planner:
    """One coordinator's. `name`: of this one; `peers`: of all that live. `pipelines`: by name. `waiting`: the
    requests that are here and not done, by pipeline and stage. `ready`: nodes whose turn has not come, by model.
    `acts`: false where no plans are to be carried out.
    """

    def __init__(
        self,
        bus: Bus,
        *,
        name: Callable[[], str],
        peers: Callable[[], Collection[str]],
        pipelines: Callable[[], Mapping[str, Pipeline]],
        waiting: Callable[[], Waiting],
        ready: Callable[[], Mapping[str, int]],
        acts: bool,
    ) -> None:
        now = time.monotonic()
        self._bus = bus
        self._name = name
        self._peers = peers
        self._pipelines = pipelines
        self._waiting = waiting
        self._ready = ready
        self._may_act = acts
        self._counting = Counting(now)
        self._crew = Crew()
        self._office = Office(lambda model: self._crew.count(model, time.monotonic()), now)
        self._known: Mapping[str, Pipeline] = {}
        self._new_workers: set[str] = set()  # their models
        self._repeat_at = 0.0
        self._acted = False

    def offered(self, pipeline: str, count: int = 1) -> None:
        """Requests have come to a pipeline, whatever became of them."""
        self._counting.add(pipeline, count, time.monotonic())

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Hears loads and workers. Raises `BusError`."""
        loads = await self._bus.listen(SCALING_CHANNEL, hearing(SCALING_CHANNEL, decode_scaling, self._hear_load))
        workers = await self._bus.listen(WORKERS_CHANNEL, hearing(WORKERS_CHANNEL, decode_notice, self._hear_worker))
        try:
            await self._bus.send(WORKERS_CHANNEL, messages.encode(RollCall()))
            yield
        finally:
            await workers.close()
            await loads.close()

    def sides(self, expect: Callable[[str], Beat]) -> dict[str, Coroutine[Any, Any, None]]:
        """What runs until it is cancelled, by name."""
        return {"planner": self._run(expect("the planner of pipelines"))}

    async def _run(self, beat: Beat) -> None:
        while True:
            beat.beat()
            await asyncio.sleep(TICK_SECONDS)
            try:
                await self._tick(time.monotonic())
            except BusError as error:
                log.warning("pipelines are not planned now: %s", error)

    async def _tick(self, now: float) -> None:
        self._take_pipelines()
        told = FrontendInformation(
            sender=self._name(),
            seconds=BUCKET_SECONDS,
            offered=self._counting.take(now),
            waiting={name: dict(stages) for name, stages in self._waiting().items()},
            ready=dict(self._ready()) or None,
        )
        self._office.hear(told, now)
        changed = self._office.changed(now)
        self._show(now)
        if self._known or told.ready:
            await self._bus.send(SCALING_CHANNEL, messages.encode(told))
        await self._act(changed, now)

    def _take_pipelines(self) -> None:
        known = self._pipelines()
        if known == self._known:
            return
        for name in self._known:
            metrics.forget(name)
        self._known = dict(known)
        self._office.set(known)

    async def _act(self, changed: Collection[str], now: float) -> None:
        acts = self._may_act and self._name() == min(self._peers(), default=None)
        metrics.ACTS.set(acts)
        begins, self._acted = acts and not self._acted, acts
        news, self._new_workers = self._new_workers, set()
        if not acts:
            return
        plans = self._office.plans()
        for name in plans if begins else changed:
            _tell(*plans[name])
        everything = begins or now >= self._repeat_at
        if everything:
            self._repeat_at = now + REPEAT_SECONDS
        for name, (pipeline, plan) in plans.items():
            if everything or name in changed:
                await self._order(pipeline, plan)
            await self._order_batches(pipeline, plan, None if everything or name in changed else news)

    async def _order(self, pipeline: Pipeline, plan: Plan) -> None:
        order = Order(
            pipeline=pipeline.name,
            workers={name: stage.workers for name, stage in plan.stages.items()},
            models={stage.id: stage.model for stage in pipeline.stages},
            at=time.time(),
            planner=self._name(),
        )
        await self._bus.send(SCALING_CHANNEL, messages.encode(order))

    async def _order_batches(self, pipeline: Pipeline, plan: Plan, only: Collection[str] | None) -> None:
        """To the workers of all stages, or of the models in `only`."""
        for stage in pipeline.stages:
            if only is None or stage.model in only:
                control = Control(batch=batch_order(pipeline, stage, plan))
                await self._bus.send(control_channel(stage.model), messages.encode(control))

    def _show(self, now: float) -> None:
        for name, (pipeline, plan) in self._office.plans().items():
            metrics.show(pipeline, plan, self._office.rate(name, now))
            for stage in pipeline.stages:
                metrics.present(name, stage.id, self._crew.count(stage.model, now))

    def _hear_load(self, told: FrontendInformation | Order) -> None:
        if isinstance(told, FrontendInformation) and told.sender != self._name():
            self._office.hear(told, time.monotonic())

    def _hear_worker(self, notice: Notice) -> None:
        if isinstance(notice, WorkerNotice) and self._crew.hear(notice, time.monotonic()):
            self._new_workers.add(notice.model)


def _tell(pipeline: Pipeline, plan: Plan) -> None:
    metrics.DECISIONS.labels(pipeline.name, "yes" if plan.feasible else "no").inc()
    words = in_words(pipeline, plan)
    if plan.feasible:
        log.info("pipeline %s: planned %s", pipeline.name, words)
    else:
        log.warning("pipeline %s: no plan fits: %s; the best effort %s", pipeline.name, plan.reason, words)
