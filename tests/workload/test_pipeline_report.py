from __future__ import annotations

import json
from typing import Any

import pytest

from core.errors import BadMessage
from workload.gateway_figures import StageFigures, figures_of
from workload.passage import UNFINISHED, Passage, passage_of
from workload.pipeline_report import DOOR, UNREACHABLE, PipelineReport, fate, pipeline_report
from workload.report import Outcome


def passage(status: str, *nodes: tuple[str, str, float | None], code: str | None = None) -> Passage:
    """As a gateway's answer tells it, with fields that nobody asks for."""
    told: dict[str, Any] = {"id": "task_1", "object": "task", "status": status, "progress": {"total": len(nodes)}}
    told["error"] = None if code is None else {"code": code, "message": "…"}
    told["nodes"] = [
        {"id": id, "model": "m", "status": state, **({} if seconds is None else {"seconds": seconds})}
        for id, state, seconds in nodes
    ]
    return passage_of(json.dumps(told).encode())


def ended(due: float, done: float, told: Passage) -> Outcome:
    return Outcome(due, due, done, None, told.failure, told)


IN_TIME = ended(0, 1, passage("completed", ("a", "completed", 0.1), ("b", "completed", 0.2)))
LATE = ended(1, 4, passage("completed", ("a", "completed", 0.3), ("b", "completed", 0.4)))
DROPPED = ended(
    2,
    2.5,
    passage("expired", ("a", "completed", 0.5), ("b", "expired", None), ("c", "skipped", None), code=UNREACHABLE),
)
FAILED = ended(3, 3.5, passage("failed", ("a", "failed", 0.6), ("b", "skipped", None), code="upstream_broken"))
AT_THE_DOOR = Outcome(4, 4, 4.1, None, UNREACHABLE)
OPEN = Outcome(5, 5, error=UNFINISHED)
ALL = (IN_TIME, LATE, DROPPED, FAILED, AT_THE_DOOR, OPEN)


def of(*outcomes: Outcome, **more: Any) -> PipelineReport:
    fields = {"policy": "pard", "slo_seconds": 2.0, "stages": ["a", "b"], "before": {}, "looks": [], **more}
    return pipeline_report(outcomes, pipeline="shop", **fields)


def test_goodput_counts_against_all_that_were_offered() -> None:
    figures = of(*ALL)
    assert (figures.offered, figures.on_time, figures.late, figures.goodput) == (6, 1, 1, 1 / 6)
    assert figures.dropped == {"b": 1, DOOR: 1}
    assert figures.failed == {"upstream_broken": 1, UNFINISHED: 1}
    assert figures.on_time + figures.late + sum(figures.dropped.values()) + sum(figures.failed.values()) == 6
    assert figures.latency is not None
    assert (figures.latency.mean, figures.latency.max) == (2, 3)


def test_what_was_spent_on_requests_that_missed_is_wasted() -> None:
    stages = of(*ALL).stages
    assert list(stages) == ["a", "b"]
    assert (stages["a"].requests, stages["a"].dropped) == (3, 0)
    assert (stages["b"].requests, stages["b"].dropped) == (2, 1)
    assert stages["a"].seconds == pytest.approx(0.1 + 0.3 + 0.5 + 0.6)
    assert stages["a"].wasted_seconds == pytest.approx(0.3 + 0.5 + 0.6)
    assert stages["b"].seconds == pytest.approx(0.6)
    assert stages["b"].wasted_seconds == pytest.approx(0.4)


def test_worker_seconds_are_those_of_the_load() -> None:
    before, after = StageFigures(worker_seconds=10), StageFigures(worker_seconds=70)
    stages = of(IN_TIME, before={"a": before}, looks=[{"a": before, "b": after}, {"a": after, "b": after}]).stages
    assert (stages["a"].worker_seconds, stages["b"].worker_seconds) == (60, None)
    anew = of(IN_TIME, before={"a": after}, looks=[{"a": before}]).stages["a"]
    assert anew.worker_seconds is None


def test_waits_are_means_of_what_was_told_during_the_load() -> None:
    told = [StageFigures(queue_wait=0.5, service=0.2), StageFigures(queue_wait=1.5), StageFigures()]
    stage = of(IN_TIME, looks=[{"a": each} for each in told]).stages["a"]
    assert (stage.queue_wait, stage.service, stage.batch_wait) == (1.0, 0.2, None)


def test_nothing_offered_is_no_figure() -> None:
    figures = of()
    assert (figures.offered, figures.goodput, figures.latency) == (0, None, None)


def test_without_an_slo_every_answer_is_on_time() -> None:
    assert [fate(each, None) for each in ALL] == ["on_time", "on_time", "dropped", "failed", "dropped", "failed"]


def test_a_deadline_that_passed_drops_where_the_request_was() -> None:
    told = passage("expired", ("a", "completed", 0.1), ("b", "expired", 0.2), ("c", "expired", None))
    assert (told.dropped_at, told.failure) == ("b", "expired")


def test_a_task_that_goes_on_is_unfinished() -> None:
    assert passage("running", ("a", "running", None)).failure == UNFINISHED


@pytest.mark.parametrize("told", [b"", b"[]", b"{}", b'{"status": 5}', b"\xff"])
def test_what_is_no_task_object_is_named(told: bytes) -> None:
    with pytest.raises(BadMessage, match="not a task object"):
        passage_of(told)


def test_figures_are_read_as_far_as_they_are_told() -> None:
    assert figures_of({"name": "shop"}) == {}
    told = figures_of({"figures": {"policy": "lazy", "stages": {"a": {"waiting": 3, "rate": None, "new": 1}}}})
    assert told == {"a": StageFigures(waiting=3)}
    with pytest.raises(BadMessage, match="figures"):
        figures_of({"figures": {"stages": []}})
