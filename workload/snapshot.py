"""How a load goes while it runs: its figures, once a second. Pure."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from workload.gateway_figures import StageFigures
from workload.pipeline_report import Fate, fate
from workload.report import Outcome, Spread, spread

# "Of late" is so long ago, in looks.
RECENT = 10


class Snapshot(NamedTuple):
    """`seconds` from the start. Counted from the start: `offered`, the `ended` by their fate, the rest is open.

    Of late: `offered_per_second`; `goodput` and `dropped`: parts of what has ended; `latency` of answers. `stages`:
    as a gateway tells.
    """

    seconds: float
    offered: int
    ended: Mapping[Fate, int]
    offered_per_second: float
    goodput: float | None
    dropped: float | None
    latency: Spread | None
    stages: Mapping[str, StageFigures]

    @property
    def open(self) -> int:
        """Requests without an end so far."""
        return self.offered - sum(self.ended.values())

    @property
    def goodput_so_far(self) -> float | None:
        """Of all that has ended."""
        return _part(self.ended, "on_time")


class _Look(NamedTuple):
    at: float
    offered: int
    ended: Counter[Fate]
    latencies: list[float]


class Watch:
    """One load's. The work of a look grows with what has happened of late alone."""

    def __init__(self, slo_seconds: float | None) -> None:
        self._slo_seconds = slo_seconds
        self._seen = 0
        self._ended: Counter[Fate] = Counter()
        self._recent: deque[_Look] = deque([_Look(0.0, 0, Counter(), [])], maxlen=RECENT + 1)

    def look(
        self, now: float, offered: int, outcomes: Sequence[Outcome], stages: Mapping[str, StageFigures]
    ) -> Snapshot:
        """`offered`: so many were sent; `outcomes`: of all that have ended, the last at the end."""
        new = outcomes[self._seen :]
        self._seen = len(outcomes)
        ended = Counter(fate(each, self._slo_seconds) for each in new)
        self._ended += ended
        self._recent.append(_Look(now, offered, ended, [each.latency for each in new if each.latency is not None]))
        return self._snapshot(now, offered, stages)

    def _snapshot(self, now: float, offered: int, stages: Mapping[str, StageFigures]) -> Snapshot:
        first, *since = self._recent
        recent: Counter[Fate] = sum((look.ended for look in since), Counter())
        return Snapshot(
            seconds=now,
            offered=offered,
            ended=dict(self._ended),
            offered_per_second=(offered - first.offered) / (now - first.at) if now > first.at else 0.0,
            goodput=_part(recent, "on_time"),
            dropped=_part(recent, "dropped"),
            latency=spread(latency for look in since for latency in look.latencies),
            stages=stages,
        )


def _part(ended: Mapping[Fate, int], which: Fate) -> float | None:
    total = sum(ended.values())
    return ended.get(which, 0) / total if total else None
