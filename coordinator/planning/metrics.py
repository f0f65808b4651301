"""Metrics of the planner. Labels are pipelines that are known and their stages."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

from policy.slo.pipeline import Pipeline
from policy.slo.planner import Plan

_STAGE = ["pipeline", "stage"]
ACTS = Gauge("agentos_planner_acts", "1 in the coordinator whose plans are carried out now.")
DECISIONS = Counter(
    "agentos_planner_decisions", "Plans that were carried out, by whether they fit.", ["pipeline", "fits"]
)
_OFFERED = Gauge("agentos_planner_offered_rate", "Requests a second that come to a pipeline.", ["pipeline"])
_PLANNED = Gauge("agentos_planner_planned_rate", "Requests a second that the plan is for.", ["pipeline"])
_FEASIBLE = Gauge("agentos_planner_feasible", "1 where the plan fits the SLO.", ["pipeline"])
_SECONDS = Gauge("agentos_planner_seconds", "The longest way through the pipeline, as planned.", ["pipeline"])
_SIZE = Gauge("agentos_planner_batch_size", "Most requests in a batch, as planned.", _STAGE)
_WORKERS = Gauge("agentos_planner_workers", "Workers, as planned.", _STAGE)
_PRESENT = Gauge("agentos_planner_workers_present", "Workers that have told lately.", _STAGE)


def show(pipeline: Pipeline, plan: Plan, rate: float) -> None:
    """The figures of a pipeline, its workers left out."""
    _OFFERED.labels(pipeline.name).set(rate)
    _PLANNED.labels(pipeline.name).set(plan.rate)
    _FEASIBLE.labels(pipeline.name).set(plan.feasible)
    _SECONDS.labels(pipeline.name).set(plan.seconds)
    for stage, planned in plan.stages.items():
        _SIZE.labels(pipeline.name, stage).set(planned.size)
        _WORKERS.labels(pipeline.name, stage).set(planned.workers)


def present(pipeline: str, stage: str, count: int) -> None:
    """So many workers of a stage are there."""
    _PRESENT.labels(pipeline, stage).set(count)


def forget(name: str) -> None:
    """There is no such pipeline any more, or none like it."""
    for gauge in (_OFFERED, _PLANNED, _FEASIBLE, _SECONDS, _SIZE, _WORKERS, _PRESENT):
        gauge.remove_by_labels({"pipeline": name})
