"""A fleet of one model, simulated by its events, whose replicas the real rule drives, or one like KEDA's.

`python -m tests.policy.scaled` prints what both come to; with a trace's file as an argument, under its load too.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
import statistics
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

from policy.scaling import Rule, Sample, Scaling
from workload.arrivals import Arrival, poisson, trace, within

LOOK_SECONDS = 1.0
START_SECONDS = 8.0
CALL_SECONDS = 4.0
TOKEN_SECONDS = 0.03  # of a call, for each token of its answer, where a trace tells how many there were
SLOTS = 8
SCALING = Scaling(target=SLOTS, max=30)


class Load(NamedTuple):
    """Times at which requests arrive, in order, with the seconds of each; `seconds`: how long it is watched."""

    name: str
    requests: list[tuple[float, float]]
    seconds: float


class Chooser(Protocol):
    """Decides at each look."""

    def replicas(self, sample: Sample, wanted: int) -> int: ...


class Ours:
    """The rule of the built-in scaler."""

    def __init__(self, scaling: Scaling = SCALING) -> None:
        self._rule = Rule()
        self._scaling = scaling

    def replicas(self, sample: Sample, wanted: int) -> int:
        return self._rule.decide(self._scaling, sample, wanted).replicas


class Naive:
    """KEDA with a threshold on `msgBacklog`, by its defaults: from and to zero by its own polls of 30 s and a
    cooldown of 300 s, else a HorizontalPodAutoscaler, every 15 s, a tenth of tolerance, 300 s of stabilization when
    fewer are needed, at most twice as many or four more at a time.
    https://keda.sh/docs/latest/concepts/scaling-deployments, https://kubernetes.io/docs/tasks/run-application/
    """

    def __init__(self, scaling: Scaling = SCALING) -> None:
        self._scaling = scaling
        self._poll_at = self._turn_at = self._active_at = 0.0
        self._recommended: deque[tuple[float, int]] = deque()

    def replicas(self, sample: Sample, wanted: int) -> int:
        if sample.at >= self._poll_at:
            self._poll_at = sample.at + 30.0
            if sample.work:
                self._active_at = sample.at
            if not wanted:
                return min(1, sample.work)
            if sample.at - self._active_at > 300.0:
                return 0
        if not wanted or sample.at < self._turn_at:
            return wanted
        self._turn_at = sample.at + 15.0
        return self._turn(sample, wanted)

    def _turn(self, sample: Sample, wanted: int) -> int:
        ratio = sample.work / (wanted * self._scaling.target)
        desired = wanted if abs(ratio - 1) <= 0.1 else max(1, math.ceil(ratio * wanted))
        self._recommended.append((sample.at, desired))
        while self._recommended[0][0] < sample.at - 300.0:
            self._recommended.popleft()
        desired = max(desired, min(wanted, *(each for _, each in self._recommended), desired + wanted))
        if desired < wanted:
            desired = min(wanted, max(each for _, each in self._recommended))
        return min(desired, max(2 * wanted, wanted + 4), self._scaling.max)


@dataclass(eq=False, slots=True)
class Pod:
    ready_at: float
    held: int = 0
    leaving: bool = False


@dataclass
class Outcome:
    """`waits`: seconds of each request before it was begun. `wanted`: at each look."""

    waits: list[float] = field(default_factory=list)
    wanted: list[int] = field(default_factory=list)
    replica_seconds: float = 0.0
    cut_off: int = 0

    def changes(self, begin: float = 0.0) -> int:
        """How often another number was wanted, from then on."""
        return sum(a != b for a, b in itertools.pairwise(self.wanted[int(begin / LOOK_SECONDS) :]))

    def wait(self, part: float) -> float:
        """The wait that this part of the requests stays under."""
        waits = sorted(self.waits)
        return waits[min(len(waits) - 1, int(part * len(waits)))]


class World:
    """Pods take requests as they have slots free; those that go finish what they have."""

    def __init__(self, load: Load, chooser: Chooser, *, start_seconds: float = START_SECONDS) -> None:
        self._load = load
        self._chooser = chooser
        self._start_seconds = start_seconds
        self._queue: deque[tuple[float, float]] = deque()
        self._pods: list[Pod] = []
        self._ends: list[tuple[float, int, Pod]] = []
        self._number = itertools.count()
        self._begun = False
        self.outcome = Outcome()

    def play(self) -> Outcome:
        """All of the load, and the silence after it."""
        coming = iter(self._load.requests)
        request = next(coming, None)
        wanted = 0
        for turn in range(int(self._load.seconds / LOOK_SECONDS)):
            now = turn * LOOK_SECONDS
            while request is not None and request[0] <= now:
                self._run_to(request[0])
                self._queue.append(request)
                self._begin(request[0])
                request = next(coming, None)
            self._run_to(now)
            self._begin(now)
            wanted = self._look(now, wanted)
        return self.outcome

    def _look(self, now: float, wanted: int) -> int:
        staying = [pod for pod in self._pods if not pod.leaving]
        ready = sum(pod.ready_at <= now for pod in staying)
        running = sum(pod.held for pod in self._pods)
        sample = Sample(now, len(self._queue), running, self._begun, ready)
        self._begun = False
        self.outcome.replica_seconds += len(self._pods) * LOOK_SECONDS
        chosen = self._chooser.replicas(sample, wanted)
        self.outcome.wanted.append(chosen)
        self._pods += [Pod(now + self._start_seconds) for _ in range(chosen - len(staying))]
        for pod in sorted(staying, key=lambda pod: (pod.ready_at <= now, pod.held))[: max(0, len(staying) - chosen)]:
            pod.leaving = True
        self._sweep()
        return chosen

    def _run_to(self, now: float) -> None:
        while self._ends and self._ends[0][0] <= now:
            at, _, pod = heapq.heappop(self._ends)
            pod.held -= 1
            self._begin(at)
        self._sweep()

    def _sweep(self) -> None:
        self._pods = [pod for pod in self._pods if pod.held or not pod.leaving]

    def _begin(self, now: float) -> None:
        while self._queue:
            free = [pod for pod in self._pods if pod.ready_at <= now and pod.held < SLOTS and not pod.leaving]
            if not free:
                return
            arrived, seconds = self._queue.popleft()
            pod = min(free, key=lambda pod: pod.held)
            pod.held += 1
            self._begun = True
            self.outcome.waits.append(now - arrived)
            heapq.heappush(self._ends, (now + seconds, next(self._number), pod))


def loads(rng: random.Random) -> Iterator[Load]:
    """Those that were made up."""
    yield Load("constant, 5 a second", _calls(within(poisson(5.0, rng), 3600.0), rng), 3600.0)
    heaps = [Arrival(at + index / 500) for at in (600.0, 1500.0, 2400.0) for index in range(500)]
    yield Load("500 within a second, three times", _calls(heaps, rng), 3600.0)
    wave = (Arrival(600.0 + arrival.at) for arrival in within(poisson(20.0, rng), 120.0))
    yield Load("20 a second for two minutes", _calls(wave, rng), 1800.0)
    yield Load("1, 10, 3 a second", _calls(steps(rng, (1.0, 10.0, 3.0), 900.0), rng), 2700.0)
    yield Load("one each 10 minutes", [(600.0 * n, CALL_SECONDS) for n in range(1, 12)], 7200.0)
    yield Load("one of 50 ms each 20 s", [(20.0 * n + 0.3, 0.05) for n in range(180)], 3600.0)


def steps(rng: random.Random, rates: Sequence[float], seconds: float) -> Iterator[Arrival]:
    """One rate after the other, each for so many seconds."""
    for number, rate in enumerate(rates):
        for arrival in within(poisson(rate, rng), seconds):
            yield Arrival(arrival.at + number * seconds)


def of_trace(file: Path) -> Load:
    """A trace, with calls as long as its answers."""
    arrivals = trace(file.read_text().splitlines())
    requests = [(each.at, (each.answer_tokens or 0) * TOKEN_SECONDS) for each in arrivals]
    return Load(file.stem, requests, arrivals[-1].at + 900.0)


def _calls(arrivals: Iterable[Arrival], rng: random.Random) -> list[tuple[float, float]]:
    return [(arrival.at, rng.expovariate(1 / CALL_SECONDS)) for arrival in arrivals]


def _print(load: Load) -> None:
    for name, chooser in (("ours", Ours()), ("msgBacklog ÷ target", Naive())):
        outcome = World(load, chooser).play()
        print(  # noqa: T201
            f"| {load.name} | {name} | {outcome.replica_seconds:,.0f} | {max(outcome.wanted)} | {outcome.changes()} "
            f"| {statistics.fmean(outcome.waits):.2f} | {outcome.wait(0.5):.2f} | {outcome.wait(0.99):.1f} |"
        )


if __name__ == "__main__":
    for each in (*loads(random.Random(1)), *(of_trace(Path(name)) for name in sys.argv[1:])):
        _print(each)
