"""What a fixed number of workers can do within an SLO."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from policy.slo.pipeline import Pipeline, Workers
from policy.slo.planner import HOP_SECONDS, StagePlan, plan
from policy.slo.profile import Profile

# More than anything sustains: the plan is then the one for the most that fits.
_TOO_MUCH = 1e6


def fixed(pipeline: Pipeline, workers: Mapping[str, int], *, hop: float = HOP_SECONDS) -> dict[str, StagePlan]:
    """By stage, its workers and the batch size with which they sustain most within the SLO, as the planner has it."""
    stages = [
        msgspec.structs.replace(stage, workers=Workers(least=workers[stage.id], most=workers[stage.id]))
        for stage in pipeline.stages
    ]
    return dict(plan(msgspec.structs.replace(pipeline, stages=stages), _TOO_MUCH, hop=hop).stages)


def capacity(pipeline: Pipeline, plans: Mapping[str, StagePlan]) -> float:
    """Requests a second that are sustained in whole batches by workers that are always busy: by the weakest stage."""
    return min(
        plans[stage.id].workers * Profile(stage.profile).throughput(plans[stage.id].size) for stage in pipeline.stages
    )
