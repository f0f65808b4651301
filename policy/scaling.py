"""How many replicas an AIModel is to have: up at once, down slowly, to zero after a silence. Pure.

One replica is to have `target` requests, waiting and running. As with the HorizontalPodAutoscaler a tenth more or
less changes nothing (https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale), but here only for as
long as a new worker would take to start. Fewer come by the largest need of late, as in InferLine (arXiv 1812.01776).
"""

from __future__ import annotations

import math
from collections import deque
from typing import NamedTuple

import msgspec

from policy.starts import Starts

# An excess so small is worth a replica only where it lasts; what is left free when one goes.
TOLERANCE = 0.1
# After so long without a look nothing of before says what is needed now.
GAP_SECONDS = 15.0
# Growth is seen in both halves of so many seconds: a heap that was published at once does not go on growing.
GROWTH_SECONDS = 4.0


class Scaling(msgspec.Struct, frozen=True, kw_only=True):
    """What a person wants. `target`: requests, waiting and running, that one replica is to have. `down_seconds`:
    fewer only when so long no more were needed; `idle_seconds`: to zero only after so long without any work.
    """

    target: int
    min: int = 0
    max: int = 10
    down_seconds: float = 60.0
    idle_seconds: float = 300.0


class Sample(msgspec.Struct, frozen=True):
    """One look, at a time in seconds. `waiting`: requests that nobody has begun; `running`: those that are begun.
    `moved`: whether any were begun since the last look. `ready`: replicas that can work.
    """

    at: float
    waiting: int
    running: int
    moved: bool
    ready: int

    @property
    def work(self) -> int:
        """All that is there."""
        return self.waiting + self.running


class Ordered(NamedTuple):
    """So many replicas are asked for by somebody who knows more than the work of this moment. `why`: who."""

    replicas: int
    why: str


class Decision(NamedTuple):
    """So many replicas, and why, for a person. `need`: what the work of this moment asks for, without bounds."""

    replicas: int
    why: str
    need: int


class Rule:
    """Of one AIModel. Times are of one clock, in seconds."""

    def __init__(self) -> None:
        self._starts = Starts()
        self._samples: deque[Sample] = deque()
        self._needs: deque[tuple[float, int]] = deque()
        self._changed_at = self._busy_at = 0.0

    def decide(
        self, scaling: Scaling, sample: Sample, wanted: int, *, failed: bool = False, ordered: Ordered | None = None
    ) -> Decision:
        """What is to be after this look, where `wanted` is what is wanted now. An order goes before the work.

        One that has `failed` gets no more than it has; but one, where there is work: without a worker nobody would
        see that it is well again.
        """
        self._take(scaling, sample, wanted)
        decision = self._free(scaling, sample, wanted)
        if ordered is not None:
            decision = decision._replace(replicas=ordered.replicas, why=ordered.why)
        decision = self._within(scaling, decision)
        most = max(wanted, min(1, sample.work))
        if failed and decision.replicas > most:
            decision = decision._replace(replicas=most, why="failed: no more than there are")
        if decision.replicas != wanted:
            self._changed_at = sample.at
        return decision

    def _take(self, scaling: Scaling, sample: Sample, wanted: int) -> None:
        """Remembers what later looks need."""
        now = sample.at
        self._starts.saw(now, wanted, sample.ready)
        if not self._samples or now - self._samples[-1].at > GAP_SECONDS:
            self._changed_at = self._busy_at = now
            self._samples.clear()
        if sample.work or sample.moved:
            self._busy_at = now
        self._samples.append(sample)
        while len(self._samples) > 1 and self._samples[1].at <= now - max(GROWTH_SECONDS, self._starts.seconds):
            self._samples.popleft()
        spare = sample.work + math.floor(sample.work * TOLERANCE)
        self._needs.append((now, math.ceil(spare / scaling.target)))
        while self._needs[0][0] < now - scaling.down_seconds:
            self._needs.popleft()

    def _free(self, scaling: Scaling, sample: Sample, wanted: int) -> Decision:
        """The decision without bounds."""
        expected = sample.work + round(self._growth() * self._starts.seconds)
        need = math.ceil(expected / scaling.target)
        lasting = math.ceil(self._lasting(sample.at) / scaling.target)
        if expected > wanted * scaling.target * (1 + TOLERANCE):
            return Decision(need, _in_words(sample, expected), need)
        if lasting > wanted:
            return Decision(lasting, _in_words(sample, sample.work), need)
        return self._less(scaling, sample.at, wanted, need)

    def _less(self, scaling: Scaling, now: float, wanted: int, need: int) -> Decision:
        """As many as now, or fewer."""
        if now - self._busy_at >= scaling.idle_seconds:
            return Decision(0, f"no work for {scaling.idle_seconds:g} s", need)
        largest = max(1, *(need for _, need in self._needs))
        if largest < wanted and now - self._changed_at >= scaling.down_seconds:
            return Decision(largest, f"no more were needed for {scaling.down_seconds:g} s", need)
        return Decision(wanted, "", need)

    def _within(self, scaling: Scaling, decision: Decision) -> Decision:
        """Between the least and the most."""
        if decision.replicas > scaling.max:
            return decision._replace(replicas=scaling.max, why=f"{decision.why or 'there were more'}; the most")
        if decision.replicas < scaling.min:
            return decision._replace(replicas=scaling.min, why="the least")
        return decision

    def _lasting(self, now: float) -> int:
        """The least work in the time that a new worker would take to start; nothing while that is not over."""
        if self._samples[0].at > now - self._starts.seconds:
            return 0
        return min(sample.work for sample in self._samples)

    def _growth(self) -> float:
        """Requests a second by which the work grows, less what may be chance (two standard deviations, as counts of
        independent arrivals have them); the lesser of the two halves of the last `GROWTH_SECONDS`.
        """
        end = self._samples[-1]
        middle = self._before(end.at - GROWTH_SECONDS / 2)
        begin = self._before(end.at - GROWTH_SECONDS)
        if begin is None or middle is None or begin is middle or middle is end:
            return 0.0
        return min(_slope(begin, middle), _slope(middle, end))

    def _before(self, moment: float) -> Sample | None:
        """The last look until then."""
        return next((sample for sample in reversed(self._samples) if sample.at <= moment), None)


def _slope(before: Sample, after: Sample) -> float:
    surely = after.work - before.work - 2 * math.sqrt(after.work + before.work)
    return max(0.0, surely) / (after.at - before.at)


def _in_words(sample: Sample, expected: int) -> str:
    words = f"{sample.waiting} requests wait and {sample.running} run"
    return words if expected == sample.work else f"{words}, {expected - sample.work} more are expected"
