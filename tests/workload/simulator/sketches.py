"""Small pipelines, and what they come to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from policy.slo.pipeline import Pipeline, Stage, Workers, checked
from policy.slo.planner import StagePlan

PROFILE = {1: 0.1, 2: 0.15, 4: 0.25}


def pipeline(
    after: Mapping[str, Sequence[str]],
    *,
    slo: float = 1.0,
    profile: Mapping[int, float] = PROFILE,
    start_seconds: float = 0.0,
    most: int = 8,
) -> Pipeline:
    """Stages by what they come after."""
    stages = [
        Stage(
            id=name,
            model=f"model-{name}",
            profile=dict(profile),
            after=list(needed),
            workers=Workers(least=1, most=most),
            start_seconds=start_seconds,
        )
        for name, needed in after.items()
    ]
    return checked(Pipeline(name="sketch", slo_seconds=slo, stages=stages))


ONE: Mapping[str, Sequence[str]] = {"a": []}
TWO: Mapping[str, Sequence[str]] = {"a": [], "b": ["a"]}
DIAMOND: Mapping[str, Sequence[str]] = {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"]}


def plans(of: Pipeline, size: int, workers: int) -> dict[str, StagePlan]:
    """The same for each stage."""
    return {stage.id: StagePlan(size, workers) for stage in of.stages}
