"""A fleet of K slots, simulated by its events, on which the real `Line`, `FairShares` and `Durations` choose.

`python -m tests.policy.simulation 20 400` prints what the candidates for "shortest remaining" and "deadline" come to,
against first-come, with 20 seeds of 400 tasks.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import msgspec

from examples.agents.codegen import TASKS, Shape
from policy.durations import Durations
from policy.fair import FairShares
from policy.line import Line
from policy.order import PATIENCE, Offer, Order

MODEL = "model"
SIGMA = 0.8  # of the logarithm of a call's duration; a coefficient of variation of 0.95
MEAN_SECONDS = 1.0
# How long a task may take, as a multiple of its critical path.
ALLOWED = (1.0, 5.0)
NEVER = 1e9

AGENTS = tuple(task.shape for task in TASKS)
# With wide ones (map and reduce) and narrow ones (a loop of tools): there path and work say different things.
MIXED = (*AGENTS, Shape(1, 40, 1), Shape(12, 1, 1))


def layers(shape: Shape) -> list[int]:
    """How many nodes run side by side, step after step: votes see the samples, samples the votes before."""
    return [shape.samples, shape.votes] * shape.rounds


@dataclass(slots=True)
class Job:
    """A task as it runs. `seconds`: of each call, the same whatever the order; `allowed`: until it is due."""

    number: int
    user: int
    arrived_at: float
    layers: list[int]
    seconds: list[float]
    allowed: float
    layer: int = 0
    unfinished: int = 0
    left: int = field(init=False)
    finished_at: float = 0.0

    def __post_init__(self) -> None:
        self.left = len(self.seconds)

    @property
    def path(self) -> int:
        """Calls one after the other that are left."""
        return len(self.layers) - self.layer

    def offer(self, expected: float) -> Offer:
        """Its figures now, with so many seconds a call."""
        return Offer(
            task=self.number,
            user=self.user,
            arrived_at=self.arrived_at,
            work=self.left * expected,
            deadline=self.arrived_at + self.allowed,
        )


Figures = Callable[[Job, float], Offer]


def poisson(shapes: Sequence[Shape], *, slots: int, load: float, count: int, seed: int) -> list[Job]:
    """Tasks of random shapes that come at random and keep `load` of the slots busy."""
    chance = random.Random(seed)
    mean_calls = statistics.fmean(shape.calls for shape in shapes)
    rate = load * slots / (mean_calls * MEAN_SECONDS)
    jobs, now = [], 0.0
    for number in range(count):
        now += chance.expovariate(rate)
        shape = chance.choice(shapes)
        seconds = [chance.lognormvariate(math.log(MEAN_SECONDS) - SIGMA**2 / 2, SIGMA) for _ in range(shape.calls)]
        steps = layers(shape)
        allowed = chance.uniform(*ALLOWED) * len(steps) * MEAN_SECONDS
        jobs.append(Job(number, number % 3, now, steps, seconds, allowed))
    return jobs


class Fleet:
    """`slots` calls at once, as `line` has them. `figures`: what a task is offered as, if not as it is."""

    def __init__(
        self, line: Line, slots: int, shares: FairShares | None = None, figures: Figures | None = None
    ) -> None:
        self._line = line
        self._free = slots
        self._shares = shares
        self._figures = figures or Job.offer
        self._durations = Durations()
        self._events: list[tuple[float, int, Job, float | None]] = []
        self._numbers = itertools.count()
        self._jobs: dict[int, Job] = {}

    def run(self, jobs: Sequence[Job]) -> list[float]:
        """Their latencies in seconds, in the order of their arrival."""
        for job in jobs:
            self._jobs[job.number] = job
            self._at(job.arrived_at, job, None)
        while self._events:
            now, _, job, took = heapq.heappop(self._events)
            if took is None:
                self._ready(job)
            else:
                self._ended(now, job, took)
            self._dispatch(now)
        return [job.finished_at - job.arrived_at for job in jobs]

    def _at(self, when: float, job: Job, took: float | None) -> None:
        heapq.heappush(self._events, (when, next(self._numbers), job, took))

    def _offer(self, job: Job) -> Offer:
        return self._figures(job, self._durations.expect(MODEL))

    def _ready(self, job: Job) -> None:
        job.unfinished = job.layers[job.layer]
        offer = self._offer(job)
        for number in range(job.unfinished):
            self._line.push(offer, f"{job.layer}.{number}", job.path)

    def _ended(self, now: float, job: Job, took: float) -> None:
        self._free += 1
        self._durations.learn(MODEL, took)
        job.left -= 1
        job.unfinished -= 1
        if job.unfinished:
            self._line.update(self._offer(job))
            return
        job.layer += 1
        if job.layer < len(job.layers):
            self._ready(job)
        else:
            job.finished_at = now

    def _dispatch(self, now: float) -> None:
        while self._free and (taken := self._line.pop()) is not None:
            job = self._jobs[taken[0]]
            took = job.seconds.pop()
            self._free -= 1
            if self._shares is not None:
                self._shares.charge(job.user, 1.0)
            self._at(now + took, job, took)


def latencies(order: Order, jobs: list[Job], slots: int, figures: Figures | None = None) -> list[float]:
    """Without shares."""
    return Fleet(Line(order, None), slots, figures=figures).run(jobs)


def _remaining(patience: float, calls: Callable[[Job], int]) -> Figures:
    """As `rank` would see a task with another patience, or with another figure for `work`."""
    return lambda job, each: msgspec.structs.replace(job.offer(each), work=calls(job) * each * patience / PATIENCE)


def _due(calls: Callable[[Job], int]) -> Figures:
    """As if the task were due so many calls before."""
    return lambda job, each: msgspec.structs.replace(
        job.offer(each), deadline=job.arrived_at + job.allowed - calls(job) * each
    )


REMAINING: dict[str, Figures] = {
    "path": _remaining(NEVER, lambda job: job.path),
    "path + work": _remaining(NEVER, lambda job: job.path + job.left),
    "work": _remaining(NEVER, lambda job: job.left),
    **{f"work, patience {each:g}": _remaining(each, lambda job: job.left) for each in (5.0, 20.0, 100.0)},
}
DUE: dict[str, Figures] = {
    "deadline": _due(lambda job: 0),
    "deadline - path": _due(lambda job: job.path),
    "deadline - work": _due(lambda job: job.left),
}


def main(seeds: int, count: int) -> None:
    """Prints, for `seeds` times `count` tasks: mean latency beside first-come, and the part that was in time."""
    for (name, shapes), slots, load in itertools.product(
        {"agents": AGENTS, "mixed": MIXED}.items(), (8, 32), (0.6, 0.8, 0.95)
    ):
        sys.stdout.write(f"{name}, {slots} slots, load {load}\n")
        rows: dict[str, list[tuple[float, float, float]]] = {}
        for seed in range(seeds):
            for way, row in _compared(
                partial(poisson, shapes, slots=slots, load=load, count=count, seed=seed), slots
            ):
                rows.setdefault(way, []).append(row)
        for way, each in rows.items():
            means, longest, met = zip(*each, strict=True)
            sys.stdout.write(
                f"  {way:18} mean {statistics.fmean(means):6.3f} ± {statistics.stdev(means):5.3f}"
                f"  longest {statistics.fmean(longest):6.2f}  in time {statistics.fmean(met):.3f}\n"
            )
        sys.stdout.flush()


def _compared(make: Callable[[], list[Job]], slots: int) -> Iterator[tuple[str, tuple[float, float, float]]]:
    first = latencies("fcfs", make(), slots)
    mean, longest = statistics.fmean(first), max(first)
    yield "fcfs, in seconds", (mean, longest, _met(make(), first))
    ways: list[tuple[Order, dict[str, Figures]]] = [("srtf", REMAINING), ("deadline", DUE)]
    for order, figures in ways:
        for way, each in figures.items():
            found = latencies(order, make(), slots, each)
            yield way, (statistics.fmean(found) / mean, max(found) / longest, _met(make(), found))


def _met(jobs: list[Job], found: list[float]) -> float:
    return statistics.fmean(seconds <= job.allowed for job, seconds in zip(jobs, found, strict=True))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
