"""What a simulation has come to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import msgspec

from policy.slo.pipeline import PolicyName
from workload.report import Spread, spread
from workload.simulator.front import Front
from workload.simulator.requests import End, Requests

DOOR = "door"


class StageFigures(msgspec.Struct, frozen=True, kw_only=True):
    """`batches`: how many had each size. Seconds are of workers: `worker_seconds` while they were on, `busy_seconds`
    in batches, `wasted_seconds` of these spent on requests that failed the SLO.
    """

    arrived: int
    served: int
    dropped: int
    batches: dict[int, int]
    worker_seconds: float
    busy_seconds: float
    wasted_seconds: float


class UserFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Of one user's requests."""

    offered: int
    on_time: int


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """Of all that were offered: `on_time` within the SLO, `late` after it, `dropped` before they were done.

    `goodput`: on time ÷ offered; `drop_rate`: dropped ÷ offered; `wasted`: part of the busy seconds that was in vain.
    `dropped_at`: by stage, or at the door. `latency`: of those that were served to the end. `seconds`: until the end
    of the last. `users`: by number, where there are several. `events`: of the simulation.
    """

    policy: PolicyName
    offered: int
    on_time: int
    late: int
    dropped: int
    goodput: float
    drop_rate: float
    wasted: float
    dropped_at: dict[str, int]
    latency: Spread | None
    seconds: float
    worker_seconds: float
    stages: dict[str, StageFigures]
    users: list[UserFigures]
    events: int


def figures(
    policy: PolicyName, fronts: Iterable[Front], requests: Requests, *, seconds: float, events: int
) -> Figures:
    """Of a run that has ended."""
    stages = {front.stage.id: _stage(front, seconds) for front in fronts}
    offered, ends = len(requests.ends), Counter(requests.ends)
    places = Counter(requests.dropped_at.values())
    busy = sum(each.busy_seconds for each in stages.values())
    return Figures(
        policy=policy,
        offered=offered,
        on_time=ends[End.ON_TIME],
        late=ends[End.LATE],
        dropped=ends[End.DROPPED],
        goodput=_part(ends[End.ON_TIME], offered),
        drop_rate=_part(ends[End.DROPPED], offered),
        wasted=_part(sum(each.wasted_seconds for each in stages.values()), busy),
        dropped_at={DOOR: places[Requests.DOOR], **{name: places[at] for at, name in enumerate(stages)}},
        latency=spread(
            ended - arrived
            for arrived, ended, end in zip(requests.arrived_at, requests.ended_at, requests.ends, strict=True)
            if end != End.DROPPED
        ),
        seconds=seconds,
        worker_seconds=sum(each.worker_seconds for each in stages.values()),
        stages=stages,
        users=_users(requests),
        events=events,
    )


def _stage(front: Front, seconds: float) -> StageFigures:
    return StageFigures(
        arrived=front.arrived,
        served=front.served,
        dropped=front.dropped,
        batches=dict(sorted(front.crew.sizes.items())),
        worker_seconds=front.crew.worker_seconds(seconds),
        busy_seconds=front.crew.busy_seconds,
        wasted_seconds=front.wasted_seconds,
    )


def _users(requests: Requests) -> list[UserFigures]:
    offered = Counter(requests.user)
    on_time = Counter(user for user, end in zip(requests.user, requests.ends, strict=False) if end == End.ON_TIME)
    return [UserFigures(offered=offered[user], on_time=on_time[user]) for user in sorted(offered)]


def _part(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
