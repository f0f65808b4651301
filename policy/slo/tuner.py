"""The tuner: when a pipeline's plan changes, as its load does. Up at once, down late.

After InferLine (arXiv 1812.01776): the load is the highest rate over windows of several lengths up to now, so that a
burst is seen soon and a slow rise too (`policy.slo.offered`); scaling down waits after any change, and goes to the
peak of a longer time only. Bursts that are too short to be followed are expected once they come again
(`policy.slo.bursts`).
"""

from __future__ import annotations

import math
from collections import deque

import msgspec

from policy.slo.bursts import Bursts
from policy.slo.choices import BUSY
from policy.slo.offered import Offered
from policy.slo.pipeline import Pipeline
from policy.slo.planner import HOP_SECONDS, Plan, StagePlan, plan

# From the last change, and from the last moment when the load was that high, to less workers (InferLine's figure);
# longer where they take long to start: what was let go too early is missed for so long.
HOLD_SECONDS = 15.0
HOLD_STARTS = 3.0
# From the last request to none at all, for stages that may have none.
IDLE_SECONDS = 60.0
IDLE_STARTS = 10.0
# Peaks that are over before a new worker could help are not followed; but none is longer than this overlooked.
LONGEST_OVERLOOKED_SECONDS = 4.0
# Plans are made for rates of the ratio STEP to one another: less of a rise is none. Less than FALL is no fall: chance
# alone moves the peak of a load so much.
STEP = 1.1
LEAST_STEP = -48  # a request in a minute and a half
# The part of the requests that may be lost to bursts that come again (`policy.slo.bursts`).
LOST = 0.01
FALL = 1.25


class Tuner:
    """One pipeline's. `plan`: the one in force; before `due` was asked that of no load. All times are of one clock.

    `seen`: what is known of its load already, where the pipeline's description has changed.
    """

    def __init__(self, pipeline: Pipeline, *, hop: float = HOP_SECONDS, seen: Offered | None = None) -> None:
        start = max(stage.start_seconds for stage in pipeline.stages)
        self.pipeline = pipeline
        self.seen = seen or Offered()
        self._hop = hop
        self._start = start
        self._hold = max(HOLD_SECONDS, HOLD_STARTS * start)
        self._idle = max(IDLE_SECONDS, IDLE_STARTS * start)
        self._shortest = min(LONGEST_OVERLOOKED_SECONDS, start + pipeline.slo_seconds)
        self._busy_at = -math.inf
        self._changed_at = -math.inf
        self._peaks: deque[tuple[float, float]] = deque()  # time, rate: falling, so that the first is the peak
        self._ready: deque[tuple[float, float]] = deque()  # time, planned rate: since workers started that serve now
        self._plans: dict[int | None, Plan] = {}
        self._floor = LEAST_STEP
        self._told = False
        self.plan = self._planned(None)
        alone = plan(pipeline, STEP**LEAST_STEP, hop=hop).seconds
        self._bursts = Bursts(max(0.0, pipeline.slo_seconds - alone))

    def offered(self, now: float, count: int) -> None:
        """So many requests have come, whatever became of them."""
        self.seen.add(now, count)
        self._bursts.add(now, count)

    def busy(self, now: float) -> None:
        """Requests are not done yet: the workers are needed although nothing new comes."""
        self._busy_at = now

    def rate(self, now: float) -> float:
        """The requests a second that are to be served now."""
        rate = self.seen.rate(now, self._shortest)
        last = self.seen.last
        quiet = now - max(self._busy_at, -math.inf if last is None else last)
        return 0.0 if quiet >= self._idle else max(rate, 1 / self._idle)

    def due(self, now: float) -> Plan | None:
        """The new plan where it changes: ask it each second or so. The first time always."""
        self._bursts.served = self._served(now)
        before, self.plan = self.plan, self._next(now)
        told, self._told = self._told, True
        if told and (before.stages, before.feasible) == (self.plan.stages, self.plan.feasible):
            return None
        self._changed_at = now if told else -math.inf
        return self.plan

    def _next(self, now: float) -> Plan:
        peak = self._peak(now)
        wanted = self._planned(max(_step(peak), self._recurring(now)) if peak else None)
        if wanted.rate > self.plan.rate:
            # What the higher rate could do without stays for a while, too.
            return _with_at_least(wanted, self.plan)
        fallen = wanted.rate == self.plan.rate or wanted.rate * FALL <= self.plan.rate
        return wanted if fallen and now - self._changed_at >= self._hold else self.plan

    def _peak(self, now: float) -> float:
        """The highest rate of late."""
        rate = self.rate(now)
        while self._peaks and self._peaks[-1][1] <= rate:
            self._peaks.pop()
        self._peaks.append((now, rate))
        while now - self._peaks[0][0] > self._hold:
            self._peaks.popleft()
        return self._peaks[0][1]

    def _recurring(self, now: float) -> int:
        """The step below which too many would be lost to bursts that come again."""
        while self._bursts.lost(now, STEP**self._floor / BUSY) > LOST:
            self._floor += 1
        while self._floor > LEAST_STEP and self._bursts.lost(now, STEP ** (self._floor - 1) / BUSY) <= LOST:
            self._floor -= 1
        return self._floor

    def _served(self, now: float) -> float:
        """Requests a second that workers serve who have started by now."""
        self._ready.append((now, self.plan.rate))
        while len(self._ready) > 1 and self._ready[1][0] <= now - self._start:
            self._ready.popleft()
        return min(rate for _, rate in self._ready) / BUSY

    def _planned(self, step: int | None) -> Plan:
        """For a rate by its step; None: for no load."""
        if step not in self._plans:
            self._plans[step] = plan(self.pipeline, 0.0 if step is None else STEP**step, hop=self._hop)
        return self._plans[step]


def _step(rate: float) -> int:
    return max(LEAST_STEP, math.ceil(math.log(rate, STEP)))


def _with_at_least(wanted: Plan, before: Plan) -> Plan:
    stages = {
        name: StagePlan(stage.size, max(stage.workers, before.stages[name].workers))
        for name, stage in wanted.stages.items()
    }
    return msgspec.structs.replace(wanted, stages=stages)
