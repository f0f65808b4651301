"""The planner: the batch size and the workers of each stage, for a load, within the SLO, at the least cost."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from policy.slo.choices import Choice, choices, enough
from policy.slo.pipeline import Pipeline, Stage
from policy.slo.profile import Profile
from policy.slo.search import Chosen, cheapest, through

# From the end of a stage to the arrival at a worker of the next, and from the gateway to the first.
HOP_SECONDS = 0.05
# How closely the load is found that still fits where the one asked for does not: within a thousandth of it.
HALVINGS = 10


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
    found = _fitting(pipeline, rate, hop)
    if found is not None:
        return _plan(pipeline, found, rate)
    alone = _alone(pipeline, hop)
    if alone > pipeline.slo_seconds:
        reason = f"a request alone takes {alone:.3g} s; the SLO is {pipeline.slo_seconds:g} s"
        return _plan(pipeline, _fastest(pipeline, rate, hop), rate, reason)
    most = _most(pipeline, rate, hop)
    reason = f"within {pipeline.slo_seconds:g} s the most workers sustain {most:.4g} of {rate:.4g} requests a second"
    return _plan(pipeline, _fitting(pipeline, most, hop) or _fastest(pipeline, rate, hop), rate, reason)


def _alone(pipeline: Pipeline, hop: float) -> float:
    """Seconds of the longest way of a request that meets no other."""
    return through(pipeline, _fastest(pipeline, 0.0, hop))


def _plan(pipeline: Pipeline, chosen: Chosen, rate: float, reason: str = "") -> Plan:
    stages = {stage.id: StagePlan(chosen[stage.id].size, chosen[stage.id].workers) for stage in pipeline.stages}
    seconds = through(pipeline, chosen)
    return Plan(stages=stages, rate=rate, seconds=seconds, feasible=not reason, reason=reason)


def _fitting(pipeline: Pipeline, rate: float, hop: float) -> Chosen | None:
    """None if nothing fits."""
    found = _choices(pipeline, rate, hop)
    return None if found is None else cheapest(pipeline, found)


def _choices(pipeline: Pipeline, rate: float, hop: float) -> dict[str, list[Choice]] | None:
    """By stage, those that fit where all others are as fast as can be. None if a stage has none."""
    found: dict[str, list[Choice]] = {}
    for stage in pipeline.stages:
        found[stage.id] = choices(stage, rate, hop=hop, limit=pipeline.slo_seconds)
        if not found[stage.id]:
            return None
    fastest = {stage: each[-1] for stage, each in found.items()}
    return {stage: _possible(pipeline, stage, each, fastest) for stage, each in found.items()}


def _possible(pipeline: Pipeline, stage: str, found: list[Choice], fastest: Chosen) -> list[Choice]:
    possible = [each for each in found if through(pipeline, fastest | {stage: each}) <= pipeline.slo_seconds]
    return possible or found[-1:]


def _most(pipeline: Pipeline, rate: float, hop: float) -> float:
    """The highest rate up to `rate`, which does not fit, that fits."""
    low, high = 0.0, rate
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if _fits(pipeline, middle, hop):
            low = middle
        else:
            high = middle
    return low


def _fits(pipeline: Pipeline, rate: float, hop: float) -> bool:
    found = _choices(pipeline, rate, hop)
    if found is None:
        return False
    return through(pipeline, {stage: each[-1] for stage, each in found.items()}) <= pipeline.slo_seconds


def _fastest(pipeline: Pipeline, rate: float, hop: float) -> Chosen:
    """Batches of one, by as many workers as the rate needs and the stage may have."""
    return {stage.id: _single(stage, rate, hop) for stage in pipeline.stages}


def _single(stage: Stage, rate: float, hop: float) -> Choice:
    profile = Profile(stage.profile)
    needed = enough(profile, 1, rate) if rate else 0
    workers = min(max(needed, stage.workers.least), stage.workers.most)
    return Choice(stage.cost * workers, hop + profile.seconds(1), 1, workers)
