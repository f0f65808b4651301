from __future__ import annotations

from pathlib import Path

import pytest

from agentos.pipeline_files import read_pipeline
from policy.slo.planner import StagePlan
from policy.slo.profile import Profile
from tests.workload.simulator.sketches import TWO, pipeline
from workload.simulator.capacity import capacity, fixed

EXAMPLES = sorted((Path(__file__).parents[3] / "examples" / "pipelines").glob("*.yaml"))


def test_the_weakest_stage_is_the_capacity() -> None:
    of = pipeline(TWO)
    assert capacity(of, {"a": StagePlan(4, 3), "b": StagePlan(2, 2)}) == pytest.approx(2 * 2 / 0.15)


def test_batches_are_as_large_as_the_slo_permits() -> None:
    def sizes(slo: float) -> list[int]:
        return [plan.size for plan in fixed(pipeline(TWO, slo=slo), {"a": 2, "b": 2}, hop=0.0).values()]

    assert sizes(10.0) == [4, 4]
    assert max(sizes(0.5)) < 4


def test_the_workers_are_those_given() -> None:
    assert [plan.workers for plan in fixed(pipeline(TWO), {"a": 3, "b": 5}).values()] == [3, 5]


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_the_mocks_of_an_example_take_as_long_as_its_profile_says(file: Path) -> None:
    of = read_pipeline(file)
    assert of.name == file.stem
    for stage in of.stages:
        told = dict(point.split(":") for point in stage.run["AGENTOS_MOCK_BATCH_SECONDS"].split(","))
        assert {int(size): float(seconds) for size, seconds in told.items()} == Profile(stage.profile).points()
