"""The requests that come to this coordinator, in the spans in which their counts are told. Pure."""

from __future__ import annotations

from policy.slo.offered import BUCKET_SECONDS, BUCKETS


class Counting:
    """By pipeline. Times are of one clock, in seconds."""

    def __init__(self, now: float) -> None:
        self._counts: dict[str, dict[int, int]] = {}
        self._told = _span(now)

    def add(self, pipeline: str, count: int, now: float) -> None:
        """So many have come."""
        counts = self._counts.setdefault(pipeline, {})
        counts[_span(now)] = counts.get(_span(now), 0) + count

    def take(self, now: float) -> dict[str, list[int]]:
        """The counts of the spans that are over since the last time, by pipeline. Those of the running span stay.

        Of a long time only the end, which alone is looked at.
        """
        since, self._told = self._told, _span(now)
        spans = range(max(since, self._told - BUCKETS), self._told)
        kept = self._counts
        self._counts = {name: {s: n for s, n in counts.items() if s >= self._told} for name, counts in kept.items()}
        return {name: [counts.get(span, 0) for span in spans] for name, counts in kept.items() if spans}


def _span(now: float) -> int:
    return int(now / BUCKET_SECONDS)
