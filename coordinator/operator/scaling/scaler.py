"""The scaler: looks at the broker, decides, and tells the fleet.

While the broker is away nothing is scaled: what there is stays.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence

from bus.port import Bus
from coordinator.operator.scaling import metrics
from coordinator.operator.scaling.fleet import Fleet, Scaled
from coordinator.operator.scaling.load import Load
from coordinator.operator.scaling.shares import Share, shares
from coordinator.operator.scaling.turns import Telling, Turns
from coordinator.operator.wanted.aimodel import Key
from coordinator.operator.wanted.names import deployment_name
from core.cluster import ClusterError
from core.errors import AgentOSError, BusError, BusUnavailable
from core.liveness import Beat
from core.loopwatch import now
from core.run import flatten
from policy.scaling import Rule

log = logging.getLogger(__name__)

TICK_SECONDS = 0.5
# How often a model is looked at: with work or workers; at zero; where others scale it and only people want to know.
BUSY_SECONDS = 1.0
IDLE_SECONDS = 2.0
WATCHED_SECONDS = 10.0
# A backlog that was not seen for so long is not known.
UNKNOWN_SECONDS = 10.0
# A connection on which every look fails for so long is made anew.
LOST_SECONDS = 30.0
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0


class Scaler:
    """Drives the replicas of a fleet. `connect`: to the broker, as often as needed; raises `BusError`."""

    def __init__(self, connect: Callable[[], Awaitable[Bus]], fleet: Fleet) -> None:
        self._connect = connect
        self._fleet = fleet
        self._turns = Turns(random.random)
        self._telling = Telling()
        self._rules: dict[Key, Rule] = {}
        self._by_model: dict[str, list[Scaled]] = {}
        self._keys: set[Key] = set()
        # By model: when it was looked at last, and since when its looks fail.
        self._looked_at: dict[str, float] = {}
        self._failing: dict[str, float] = {}

    async def run(self, beat: Beat) -> None:
        """Until cancelled."""
        pause = FIRST_PAUSE_SECONDS
        try:
            while True:
                beat.beat()
                began = now()
                try:
                    await self._connected(beat)
                except* BusError as group:
                    self._away(flatten(group)[0])
                lasted = now() - began > LOST_SECONDS
                pause = FIRST_PAUSE_SECONDS if lasted else min(2 * pause, LONGEST_PAUSE_SECONDS)
                await asyncio.sleep(pause)
        finally:
            self._keep([])

    async def _connected(self, beat: Beat) -> None:
        """Until the connection is lost, which it raises."""
        bus = await self._connect()
        beat.beat()
        try:
            load = Load(bus)
            async with load.listening(), asyncio.TaskGroup() as group:
                log.info("connected to the broker: AIModels are scaled")
                metrics.CONNECTED.set(1)
                self._failing = {}
                await self._work(load, group, beat)
        finally:
            metrics.CONNECTED.set(0)
            self._turns = Turns(random.random)
            await bus.close()

    async def _work(self, load: Load, group: asyncio.TaskGroup, beat: Beat) -> None:
        while not self._lost():
            beat.beat()
            self._follow()
            for model in self._turns.take(now()):
                group.create_task(self._turn(load, model), name=f"look at {model}")
            await asyncio.sleep(TICK_SECONDS)
        raise BusUnavailable(f"no backlog could be seen for {LOST_SECONDS:g} s")

    def _lost(self) -> bool:
        """Whether every look has failed for long."""
        failing = self._failing
        return (
            bool(failing) and failing.keys() >= self._by_model.keys() and max(failing.values()) < now() - LOST_SECONDS
        )

    def _follow(self) -> None:
        """Those that there are, and no others."""
        models = self._fleet.models()
        self._by_model = {}
        for each in models:
            self._by_model.setdefault(each.model, []).append(each)
        for times in (self._failing, self._looked_at):
            for model in times.keys() - self._by_model.keys():
                del times[model]
        self._turns.follow({model: _period(members) for model, members in self._by_model.items()}, now())
        self._keep(models)

    def _keep(self, models: Sequence[Scaled]) -> None:
        """Forgets what is none of these."""
        for key in self._rules.keys() - {each.key for each in models if each.scaling is not None}:
            del self._rules[key]
            metrics.forget(key)
        before, self._keys = self._keys, {each.key for each in models}
        for key in before - self._keys:
            self._telling.forget(key)
            metrics.show_backlog(key, None)

    async def _turn(self, load: Load, model: str) -> None:
        try:
            await self._look(load, model)
        except BusError as error:
            self._missed(model, error)
        finally:
            self._turns.done(model, now())

    async def _look(self, load: Load, model: str) -> None:
        look = await load.look(model)
        metrics.LOOKS.labels("seen").inc()
        if self._failing.pop(model, None) is not None and not self._failing:
            log.info("all backlogs are known again")
        self._looked_at[model] = look.at
        members = self._by_model.get(model, [])
        if members:
            await load.announce(model, members[0].node_type)
        self._tell(members, look.waiting)
        for share in shares(members, look, load.orders.of(model, look.at)):
            await self._decide(load, share)

    async def _decide(self, load: Load, share: Share) -> None:
        scaled = share.scaled
        rule = self._rules.setdefault(scaled.key, Rule())
        decision = rule.decide(
            share.scaling, share.sample, scaled.replicas, failed=scaled.failed, ordered=share.ordered
        )
        metrics.show(scaled.key, decision)
        if decision.replicas == scaled.replicas:
            return
        if 0 < decision.replicas < scaled.replicas:
            await self._spare_busy(load, scaled)
        log.info("AIModel %s/%s: %d → %d: %s", *scaled.key, scaled.replicas, decision.replicas, decision.why)
        metrics.changed(scaled.key, scaled.replicas, decision.replicas)
        self._fleet.want(scaled.key, decision.replicas, decision.why)

    async def _spare_busy(self, load: Load, scaled: Scaled) -> None:
        """Says which Pods are to be the last to go."""
        await load.fresh(scaled.model)
        prefix = deployment_name(scaled.key[1]) + "-"
        held = {pod: count for pod, count in load.held(scaled.model).items() if pod.startswith(prefix)}
        try:
            await self._fleet.costs(scaled.key, held)
        except ClusterError as error:
            log.warning("AIModel %s/%s: any of its Pods may be the first to go: %s", *scaled.key, error)

    def _tell(self, members: list[Scaled], count: int | None) -> None:
        for each in members:
            metrics.show_backlog(each.key, count)
            if self._telling.due(each.key, count, now()):
                self._fleet.told_backlog(each.key, count)

    def _missed(self, model: str, error: BusError) -> None:
        metrics.LOOKS.labels("failed").inc()
        if not self._failing:
            log.warning("a backlog is not known now, and not scaled by: %s", error)
        since = self._failing.setdefault(model, now())
        if now() - self._looked_at.get(model, since) > UNKNOWN_SECONDS:
            self._tell(self._by_model.get(model, []), None)

    def _away(self, error: AgentOSError) -> None:
        log.warning("AIModels stay as they are until the broker is there: %s", error)
        self._follow()
        for members in self._by_model.values():
            self._tell(members, None)


def _period(members: list[Scaled]) -> float:
    scaled = [each for each in members if each.scaling is not None]
    if not scaled:
        return WATCHED_SECONDS
    return BUSY_SECONDS if any(each.replicas for each in scaled) else IDLE_SECONDS
