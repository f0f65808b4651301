"""The plans of all pipelines, from what every coordinator tells of their load. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from bus.messages import BatchOrder
from bus.scaling import FrontendInformation
from policy.slo.pipeline import Pipeline, Stage
from policy.slo.planner import Plan, StagePlan
from policy.slo.tuner import Tuner

# So long after the start the load of earlier is not known, and no worker that is there is sent away.
LEARN_SECONDS = 30.0


class Office:
    """Every coordinator has one and keeps it up, so that whichever acts knows the load. Times are of one clock.

    `present`: how many workers there are of a model.
    """

    def __init__(self, present: Callable[[str], int], now: float) -> None:
        self._present = present
        self._began = now
        self._tuners: dict[str, Tuner] = {}
        self._plans: dict[str, Plan] = {}

    def set(self, pipelines: Mapping[str, Pipeline]) -> None:
        """These are the pipelines now."""
        self._plans = {name: plan for name, plan in self._plans.items() if pipelines.get(name) == self._known(name)}
        self._tuners = {name: self._tuner(pipeline) for name, pipeline in pipelines.items()}

    def hear(self, told: FrontendInformation, now: float) -> None:
        """A coordinator's load, this one's too."""
        for name, counts in told.offered.items():
            if (tuner := self._tuners.get(name)) is not None:
                for back, count in enumerate(reversed(counts)):
                    tuner.offered(now - (back + 1) * told.seconds, count)
        for name, waiting in told.waiting.items():
            if name in self._tuners and any(waiting.values()):
                self._tuners[name].busy(now)

    def changed(self, now: float) -> list[str]:
        """The pipelines whose plan is another from now on."""
        found = []
        for name, tuner in self._tuners.items():
            plan = self._gentle(tuner.pipeline, tuner.due(now) or tuner.plan, now)
            before = self._plans.get(name)
            self._plans[name] = plan
            if before is None or (before.stages, before.feasible) != (plan.stages, plan.feasible):
                found.append(name)
        return found

    def plans(self) -> Mapping[str, tuple[Pipeline, Plan]]:
        """By name."""
        return {name: (self._tuners[name].pipeline, plan) for name, plan in self._plans.items()}

    def rate(self, name: str, now: float) -> float:
        """The requests a second that come to a pipeline now."""
        return self._tuners[name].seen.rate(now)

    def _known(self, name: str) -> Pipeline | None:
        tuner = self._tuners.get(name)
        return None if tuner is None else tuner.pipeline

    def _tuner(self, pipeline: Pipeline) -> Tuner:
        tuner = self._tuners.get(pipeline.name)
        if tuner is None:
            return Tuner(pipeline)
        return tuner if tuner.pipeline == pipeline else Tuner(pipeline, seen=tuner.seen)

    def _gentle(self, pipeline: Pipeline, plan: Plan, now: float) -> Plan:
        """The plan that leaves whoever is there, while little is known."""
        if now - self._began >= LEARN_SECONDS:
            return plan
        stages = {stage.id: self._kept(stage, plan.stages[stage.id]) for stage in pipeline.stages}
        return msgspec.structs.replace(plan, stages=stages)

    def _kept(self, stage: Stage, planned: StagePlan) -> StagePlan:
        there = min(self._present(stage.model), stage.workers.most)
        return StagePlan(planned.size, max(planned.workers, there))


def batch_order(pipeline: Pipeline, stage: Stage, plan: Plan) -> BatchOrder:
    """What a stage's workers are told."""
    return BatchOrder(size=plan.stages[stage.id].size, policy=pipeline.policy, seconds=stage.profile)


def in_words(pipeline: Pipeline, plan: Plan) -> str:
    """A plan for a person."""
    stages = (
        f"{stage.id}: {planned.workers} worker{'s' * (planned.workers != 1)}, batches of {planned.size}"
        for stage in pipeline.stages
        if (planned := plan.stages[stage.id])
    )
    return f"for {plan.rate:.3g} requests a second: {'; '.join(stages)}"
