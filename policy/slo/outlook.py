"""What a request still has before it when a stage is done with it."""

from __future__ import annotations

from collections.abc import Mapping

from policy.slo.pipeline import Pipeline, Stage
from policy.slo.watch import StageWatch


def outlook(pipeline: Pipeline, watches: Mapping[str, StageWatch], now: float) -> dict[str, tuple[float, float]]:
    """By stage: the seconds from its end to the end of the pipeline on the longest path, as expected; and the least
    that they can be. The last stages have none.

    Expected of a stage (PARD, https://arxiv.org/abs/2602.08747): queueing, execution at the planned size, and the
    10th percentile of the wait for a batch. The least: execution alone.
    """

    def expected(stage: Stage) -> float:
        watch = watches[stage.id]
        return watch.queue_wait(now) + watch.hop(now) + watch.batch_wait_p10(now) + watch.service()

    def least(stage: Stage) -> float:
        return watches[stage.id].profile.seconds(1)

    most, fewest = pipeline.longest(expected), pipeline.longest(least)
    return {stage.id: (most[stage.id], fewest[stage.id]) for stage in pipeline.stages}
