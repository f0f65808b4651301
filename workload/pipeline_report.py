"""What a load on a pipeline has come to. Pure.

Everything that was offered counts: goodput is what ended within the SLO ÷ all offered.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import msgspec

from workload.gateway_figures import StageFigures
from workload.report import Outcome, Spread, report

DOOR = "door"
# What a gateway says, and what a stage says, of a request that cannot make its deadline.
UNREACHABLE = "deadline_unreachable"

Fate = Literal["on_time", "late", "dropped", "failed"]
FATES: tuple[Fate, ...] = get_args(Fate)


class StageReport(msgspec.Struct, frozen=True):
    """Of one stage. `requests`: that it has served, `dropped`: that ended here without it.

    `seconds`: of workers, each request's part of its batch; `wasted_seconds`: of these, what was spent on requests
    that missed the SLO. As the gateway tells, else None: `queue_wait`, `batch_wait`, `service`: means in seconds, of
    what it told during the load; `worker_seconds` that workers were there in the time of the load.
    """

    requests: int
    dropped: int
    seconds: float
    wasted_seconds: float
    queue_wait: float | None = None
    batch_wait: float | None = None
    service: float | None = None
    worker_seconds: float | None = None


class PipelineReport(msgspec.Struct, frozen=True):
    """A load's figures. `seconds`: from its start to the last end.

    `late`: answered after the SLO; `dropped`: by where, `door` or a stage; `failed`: by the error's name. `latency`:
    of all answers, from when their requests were due. `sent_late`: how long after that a request was sent.
    """

    pipeline: str
    policy: str
    slo_seconds: float
    offered: int
    offered_per_second: float
    seconds: float
    on_time: int
    late: int
    dropped: dict[str, int]
    failed: dict[str, int]
    goodput: float | None
    latency: Spread | None
    sent_late: Spread | None
    stages: dict[str, StageReport]


def fate(outcome: Outcome, slo_seconds: float | None) -> Fate:
    """Without an SLO every answer is on time."""
    if outcome.latency is not None:
        return "on_time" if slo_seconds is None or outcome.latency <= slo_seconds else "late"
    return "failed" if dropped_at(outcome) is None else "dropped"


def dropped_at(outcome: Outcome) -> str | None:
    """The stage, or `DOOR`; None where it was not dropped."""
    if outcome.passage is not None:
        return outcome.passage.dropped_at
    return DOOR if outcome.error == UNREACHABLE else None


def pipeline_report(
    outcomes: Sequence[Outcome],
    *,
    pipeline: str,
    policy: str,
    slo_seconds: float,
    stages: Iterable[str],
    before: Mapping[str, StageFigures],
    looks: Sequence[Mapping[str, StageFigures]],
) -> PipelineReport:
    """`stages`: their names in order. `before`, `looks`: what the gateway told at the start, and since."""
    whole = report(outcomes, slo_seconds=slo_seconds)
    fates = [fate(each, slo_seconds) for each in outcomes]
    counts = Counter(fates)
    failed = Counter(str(each.error) for each, end in zip(outcomes, fates, strict=True) if end == "failed")
    tallies = _tallies(stages, outcomes, fates)

    def seen(stage: str) -> list[StageFigures]:
        return [look[stage] for look in looks if stage in look]

    return PipelineReport(
        pipeline=pipeline,
        policy=policy,
        slo_seconds=slo_seconds,
        offered=whole.offered,
        offered_per_second=whole.offered_per_second,
        seconds=whole.seconds,
        on_time=counts["on_time"],
        late=counts["late"],
        dropped=dict(Counter(where for each in outcomes if (where := dropped_at(each)) is not None).most_common()),
        failed=dict(failed.most_common()),
        goodput=whole.attainment,
        latency=whole.latency,
        sent_late=whole.late,
        stages={stage: _stage(tally, before.get(stage), seen(stage)) for stage, tally in tallies.items()},
    )


@dataclass(slots=True)
class _Tally:
    requests: int = 0
    dropped: int = 0
    seconds: float = 0.0
    wasted: float = 0.0


def _tallies(stages: Iterable[str], outcomes: Iterable[Outcome], fates: Iterable[Fate]) -> dict[str, _Tally]:
    tallies = {stage: _Tally() for stage in stages}
    for outcome, end in zip(outcomes, fates, strict=True):
        if outcome.passage is None:
            continue
        if (where := tallies.get(outcome.passage.dropped_at or "")) is not None:
            where.dropped += 1
        for node in outcome.passage.nodes:
            if (tally := tallies.get(node.id)) is not None:
                tally.requests += node.status == "completed"
                tally.seconds += node.seconds or 0.0
                tally.wasted += (node.seconds or 0.0) if end != "on_time" else 0.0
    return tallies


def _stage(tally: _Tally, before: StageFigures | None, seen: Sequence[StageFigures]) -> StageReport:
    worked = None
    # A gateway that has started anew counts from 0 again.
    if before is not None and seen and seen[-1].worker_seconds >= before.worker_seconds:
        worked = seen[-1].worker_seconds - before.worker_seconds
    return StageReport(
        requests=tally.requests,
        dropped=tally.dropped,
        seconds=tally.seconds,
        wasted_seconds=tally.wasted,
        queue_wait=_mean(look.queue_wait for look in seen),
        batch_wait=_mean(look.batch_wait for look in seen),
        service=_mean(look.service for look in seen),
        worker_seconds=worked,
    )


def _mean(told: Iterable[float | None]) -> float | None:
    known = [seconds for seconds in told if seconds is not None]
    return math.fsum(known) / len(known) if known else None
