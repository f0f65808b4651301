"""A pipeline under a load, simulated: its fleet's own rules on a clock of events."""

from __future__ import annotations

from collections.abc import Mapping

from policy.slo.outlook import outlook
from policy.slo.pipeline import Pipeline
from policy.slo.planner import Plan, StagePlan
from policy.slo.tuner import Tuner
from workload.simulator.front import Front
from workload.simulator.requests import Requests
from workload.simulator.world import World

# How often a gate looks at what waits there, in seconds.
TICK_SECONDS = 0.25
# How often the planner looks at the load, in seconds.
TUNE_SECONDS = 1.0


class Engine:
    """One run. `changes`: the planner's, with their times."""

    def __init__(self, pipeline: Pipeline, world: World, plans: Mapping[str, StagePlan], *, planner: bool) -> None:
        self._pipeline = pipeline
        self._world = world
        self.fronts = {
            stage.id: Front(world, stage, number, plans[stage.id].size, done=self._done, dropped=self._dropped)
            for number, stage in enumerate(pipeline.stages)
        }
        self._watches = {name: front.watch for name, front in self.fronts.items()}
        self._after: dict[str, list[Front]] = {name: [] for name in self.fronts}
        for stage in pipeline.stages:
            for before in stage.after:
                self._after[before].append(self.fronts[stage.id])
        self._first = [self.fronts[stage.id] for stage in pipeline.stages if not stage.after]
        # Of a request that several stages must do before the next, or before its end: how many still are to.
        self._missing: dict[tuple[int, str], int] = {}
        self._last = sum(not after for after in self._after.values())
        self._parallel = self._last > 1 or len(self._first) > 1 or max(map(len, self._after.values())) > 1
        self._count = 0
        self._tuner = Tuner(pipeline, hop=2 * world.clock.way) if planner else None
        self.changes: list[tuple[float, Plan]] = []
        for name, front in self.fronts.items():
            front.order(0.0, plans[name].size, plans[name].workers, start_seconds=0.0)

    def run(self) -> float:
        """Until everything has ended. Returns when that was, in seconds."""
        self._world.clock.at(0.0, self._tick, None)
        if self._tuner is not None:
            self._world.clock.at(TUNE_SECONDS, self._tune, (self._tuner, 0))
        return self._world.clock.run(self._world.requests.arrived_at, self._arrive)

    def _arrive(self, now: float) -> None:
        request = self._count
        self._count += 1
        self._world.requests.open += 1
        for front in self._first:
            if not front.admits(now, request):
                self._world.requests.drop(request, Requests.DOOR, now)
                return
        for front in self._first:
            front.arrive(now, request)
        for front in self._first:
            front.dispatch(now)

    def _tick(self, now: float, _: None) -> None:
        for name, later in outlook(self._pipeline, self._watches, now).items():
            self.fronts[name].tick(now, later)
        if self._goes_on():
            self._world.clock.at(now + TICK_SECONDS, self._tick, None)

    def _tune(self, now: float, state: tuple[Tuner, int]) -> None:
        tuner, seen = state
        for arrived_at in self._world.requests.arrived_at[seen : self._count]:
            tuner.offered(arrived_at, 1)
        if self._world.requests.open:
            tuner.busy(now)
        plan = tuner.due(now)
        if plan is not None:
            self.changes.append((now, plan))
            for name, stage in plan.stages.items():
                front = self.fronts[name]
                front.order(now, stage.size, stage.workers, front.stage.start_seconds)
        if self._goes_on():
            self._world.clock.at(now + TUNE_SECONDS, self._tune, (tuner, self._count))

    def _goes_on(self) -> bool:
        return self._world.requests.open > 0 or self._count < len(self._world.requests.ends)

    def _done(self, now: float, front: Front, requests: list[int]) -> None:
        """A stage is done with these."""
        after = self._after[front.stage.id]
        if self._world.policy != "none":
            requests = [request for request in requests if not self._late(now, request)]
        if not after:
            for request in requests:
                if self._all_there(request, "", self._last) and not self._world.requests.finish(request, now):
                    self._failed(now, request)
        for following in after:
            for request in requests:
                if self._all_there(request, following.stage.id, len(following.stage.after)):
                    following.arrive(now, request)
        for following in after:
            following.dispatch(now)

    def _late(self, now: float, request: int) -> bool:
        """A request with a deadline ends there."""
        if now <= self._world.requests.due(request):
            return False
        self._world.requests.finish(request, now)
        self._failed(now, request)
        return True

    def _all_there(self, request: int, place: str, needed: int) -> bool:
        if needed == 1:
            return True
        left = self._missing.pop((request, place), needed) - 1
        if left:
            self._missing[request, place] = left
        return not left

    def _dropped(self, now: float, front: Front, request: int) -> None:
        self._world.requests.drop(request, front.number, now)
        self._failed(now, request)

    def _failed(self, now: float, request: int) -> None:
        for front in self.fronts.values():
            front.wasted_seconds += front.spent[request]
            if self._parallel:
                front.forget(now, request)
