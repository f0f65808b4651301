"""What an open loop has measured. Pure.

Latencies count from the moment a request was meant to be sent: a client that is held up by slow answers would
otherwise hide the worst of them (coordinated omission). Whatever was offered counts for the SLO, whether it was
answered or not.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from workload.passage import Passage

QUANTILES = (0.5, 0.9, 0.95, 0.99)


class Outcome(msgspec.Struct, frozen=True):
    """One offered request; all in seconds, times from the start of the load.

    `due`: when it was meant to be sent; `sent`: when it was; `first`: its first token, where it was streamed;
    `done`: its end, None where it had none; `error`: the name of its failure; `passage`: a pipeline's, once it ended.
    """

    due: float
    sent: float
    done: float | None = None
    first: float | None = None
    error: str | None = None
    passage: Passage | None = None

    @property
    def latency(self) -> float | None:
        """From its due time to a good answer; None where there was none."""
        return None if self.done is None or self.error is not None else self.done - self.due


class Spread(msgspec.Struct, frozen=True):
    """Of some durations in seconds."""

    mean: float
    p50: float
    p90: float
    p95: float
    p99: float
    max: float


class Report(msgspec.Struct, frozen=True):
    """A load's figures. `seconds`: from the start to the last end; rates a second.

    `latency`, `first_token`: of good answers, from their due times. `late`: how long after its due time a request was
    sent: where this is not next to nothing, the machine of the load is too slow for it. `attainment`: good answers
    within `slo_seconds`, as a share of all offered.
    """

    offered: int
    answered: int
    failed: dict[str, int]
    seconds: float
    offered_per_second: float
    answered_per_second: float
    latency: Spread | None
    first_token: Spread | None
    late: Spread | None
    slo_seconds: float | None
    attainment: float | None


def report(outcomes: Sequence[Outcome], *, slo_seconds: float | None = None) -> Report:
    """Of all that were offered. The SLO is on the latency."""
    latencies = [each.latency for each in outcomes if each.latency is not None]
    good = sum(latency <= slo_seconds for latency in latencies) if slo_seconds is not None else 0
    seconds = max((max(each.due, each.done or 0.0) for each in outcomes), default=0.0)
    offered_in = max((each.due for each in outcomes), default=0.0)
    return Report(
        offered=len(outcomes),
        answered=len(latencies),
        failed=dict(Counter(each.error for each in outcomes if each.error is not None).most_common()),
        seconds=seconds,
        offered_per_second=_rate(len(outcomes), offered_in),
        answered_per_second=_rate(len(latencies), seconds),
        latency=spread(latencies),
        first_token=spread(each.first - each.due for each in outcomes if each.first is not None and not each.error),
        late=spread(each.sent - each.due for each in outcomes),
        slo_seconds=slo_seconds,
        attainment=good / len(outcomes) if outcomes and slo_seconds is not None else None,
    )


def spread(durations: Iterable[float]) -> Spread | None:
    """None of nothing. Percentiles are values that occurred (nearest rank)."""
    values = sorted(durations)
    if not values:
        return None
    p50, p90, p95, p99 = (values[math.ceil(quantile * len(values)) - 1] for quantile in QUANTILES)
    return Spread(mean=math.fsum(values) / len(values), p50=p50, p90=p90, p95=p95, p99=p99, max=values[-1])


def _rate(count: int, seconds: float) -> float:
    return count / seconds if seconds else 0.0
