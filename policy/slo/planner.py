"""The planner: the batch size and the workers of each stage, for a load, within the SLO, at the least cost."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from policy.slo.choices import Choice, choices, enough, most_of
from policy.slo.pipeline import Pipeline, Stage
from policy.slo.profile import Profile
from policy.slo.search import Chosen, around, cheapest, through

# From the end of a stage to the arrival at a worker of the next, and from the gateway to the first.
HOP_SECONDS = 0.05
# How closely the load is found that still fits, where the one asked for does not: so many bits, the first of which
# bring it to where even batches of one make it.
HALVINGS = 20


class StagePlan(msgspec.Struct, frozen=True):
    """`size`: the most requests in one batch, 1 or more."""

    size: int
    workers: int


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """`stages` by id. `rate`: the requests a second that were asked for. `seconds`: the longest way through.

    Where nothing fits, `feasible` is false and `reason` says why, in a sentence; the stages are then the best effort:
    those for the highest load that fits, or, where not even a request alone would be in time, the fastest.
    """

    stages: Mapping[str, StagePlan]
    rate: float
    seconds: float
    feasible: bool = True
    reason: str = ""


def plan(pipeline: Pipeline, rate: float, *, hop: float = HOP_SECONDS) -> Plan:
    """The least cost (the sum of workers times their cost) such that each stage sustains `rate` requests a second and
    the longest way of hop, wait for the batch, wait for a worker and service fits the SLO.

    `pipeline` as `policy.slo.pipeline.checked` returns it. With a rate of 0 each stage has its least workers.
    """
    return _Planning(pipeline, hop).plan(rate)


class _Planning:
    def __init__(self, pipeline: Pipeline, hop: float) -> None:
        self._pipeline = pipeline
        self._slo = pipeline.slo_seconds
        self._hop = hop
        self._profiles = {stage.id: Profile(stage.profile) for stage in pipeline.stages}

    def plan(self, rate: float) -> Plan:
        found = self._choices(rate)
        if found is not None and (best := cheapest(self._pipeline, found)):
            return self._as_plan(best, rate)
        alone = through(self._pipeline, self._singles(0.0))
        if alone > self._slo:
            reason = f"a request alone takes {alone:.3g} s; the SLO is {self._slo:g} s"
            return self._as_plan(self._singles(rate), rate, reason)
        most, found = self._most(rate)
        reason = f"within {self._slo:g} s the most workers sustain {most:.4g} of {rate:.4g} requests a second"
        return self._as_plan(cheapest(self._pipeline, found) or self._singles(rate), rate, reason)

    def _as_plan(self, chosen: Chosen, rate: float, reason: str = "") -> Plan:
        stages = {
            stage.id: StagePlan(chosen[stage.id].size, chosen[stage.id].workers) for stage in self._pipeline.stages
        }
        seconds = through(self._pipeline, chosen)
        return Plan(stages=stages, rate=rate, seconds=seconds, feasible=not reason, reason=reason)

    def _choices(self, rate: float) -> dict[str, list[Choice]] | None:
        """By stage, those that fit where the others are as fast as can be. None if a stage has none."""
        found: dict[str, list[Choice]] = {}
        for stage in self._pipeline.stages:
            found[stage.id] = choices(stage, self._profiles[stage.id], rate, hop=self._hop, limit=self._slo)
            if not found[stage.id]:
                return None
        ways = around(self._pipeline, {stage: each[-1] for stage, each in found.items()})
        if any(way + found[stage][-1].seconds > self._slo for stage, way in ways.items()):
            return None
        return {
            stage: [each for each in found[stage] if way + each.seconds <= self._slo] for stage, way in ways.items()
        }

    def _most(self, rate: float) -> tuple[float, dict[str, list[Choice]]]:
        """The highest rate below `rate`, which does not fit, that fits, and the choices for it."""
        low, high = 0.0, min(rate, *(most_of(stage, self._profiles[stage.id]) for stage in self._pipeline.stages))
        best: dict[str, list[Choice]] = {}
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            found = self._choices(middle)
            if found is None:
                high = middle
            else:
                low, best = middle, found
        return low, best

    def _singles(self, rate: float) -> Chosen:
        """Batches of one, by as many workers as the rate needs and the stage may have."""
        return {stage.id: self._single(stage, rate) for stage in self._pipeline.stages}

    def _single(self, stage: Stage, rate: float) -> Choice:
        profile = self._profiles[stage.id]
        needed = enough(profile, 1, rate) if rate else 0
        workers = min(max(needed, stage.workers.least), stage.workers.most)
        return Choice(stage.cost * workers, self._hop + profile.seconds(1), 1, workers)
