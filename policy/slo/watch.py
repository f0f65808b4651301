"""What is seen of one stage: how many come, how long they wait, whether it is more than its workers can do."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence

from policy.slo.profile import Profile
from policy.slo.sight import Mode, Sight
from policy.window import stage_window

# Over how long things are seen, in seconds; arrivals are counted in spans of one second.
SPAN_SECONDS = 5.0
# From the gate to a worker, the dispatch's commit included, with room to spare: so long before it is needed, the next
# batch is under way.
LEAD_SECONDS = 0.2
# No more samples are kept than these.
MOST_SAMPLES = 1000
# The percentile of the batch waits that PARD expects (https://arxiv.org/abs/2602.08747).
WAIT_QUANTILE = 0.1


class Samples:
    """Seconds that were measured in the last `SPAN_SECONDS`."""

    __slots__ = ("_samples", "_sum")

    def __init__(self) -> None:
        self._samples: deque[tuple[float, float]] = deque()
        self._sum = 0.0

    def add(self, now: float, seconds: Iterable[float]) -> None:
        """They were measured now."""
        for each in seconds:
            self._samples.append((now, each))
            self._sum += each
        self._forget(now)

    def mean(self, now: float) -> float:
        """0 if there are none."""
        self._forget(now)
        return self._sum / len(self._samples) if self._samples else 0.0

    def quantile(self, now: float, part: float) -> float:
        """The smallest that `part` of them do not exceed; 0 if there are none."""
        self._forget(now)
        ordered = sorted(each for _, each in self._samples)
        return ordered[max(0, math.ceil(part * len(ordered)) - 1)] if ordered else 0.0

    def _forget(self, now: float) -> None:
        samples = self._samples
        while samples and (samples[0][0] < now - SPAN_SECONDS or len(samples) > MOST_SAMPLES):
            self._sum -= samples.popleft()[1]
        if not samples:
            self._sum = 0.0


class Arrivals:
    """Counted by the second."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: deque[tuple[int, int]] = deque()

    def add(self, now: float, count: int) -> None:
        """So many more."""
        second = math.floor(now)
        before = self._counts.pop()[1] if self._counts and self._counts[-1][0] == second else 0
        self._counts.append((second, before + count))

    def rate(self, now: float) -> float:
        """A second, over the span."""
        return sum(self._seconds(now)) / SPAN_SECONDS

    def noise(self, now: float) -> float:
        """By how much the seconds of the span differ from their mean, as a part of their sum: PARD's ε."""
        counts = self._seconds(now)
        mean = sum(counts) / len(counts)
        return sum(abs(each - mean) for each in counts) / sum(counts) if mean else 0.0

    def _seconds(self, now: float) -> list[int]:
        first = math.floor(now) - int(SPAN_SECONDS)
        while self._counts and self._counts[0][0] < first:
            self._counts.popleft()
        counts = [count for second, count in self._counts if second < first + int(SPAN_SECONDS)]
        return counts + [0] * (int(SPAN_SECONDS) - len(counts))


class StageWatch:
    """One stage, as its gate's coordinator sees it. `profile`, `size` (of a batch) and `workers` are those in force:
    set them when they change. Times in seconds, on one clock.
    """

    def __init__(self, profile: Profile, size: int, workers: int) -> None:
        self.profile = profile
        self.size = size
        self.workers = workers
        self._mode: Mode = "normal"
        self._arrivals = Arrivals()
        self._gate = Samples()
        self._hops = Samples()
        self._waits = Samples()

    def arrived(self, now: float, count: int) -> None:
        """So many requests have come to the gate."""
        self._arrivals.add(now, count)

    def left_gate(self, now: float, waited: Iterable[float]) -> None:
        """Requests have been sent; each waited so long at the gate."""
        self._gate.add(now, waited)

    def batch(self, now: float, hops: Sequence[float], waits: Sequence[float]) -> None:
        """A batch has ended. Of each of its requests: the seconds from the gate to the worker, the time in the topic
        included; and from there to the batch's start.
        """
        self._hops.add(now, hops)
        self._waits.add(now, waits)

    def window(self) -> int:
        """How many requests may be beyond the gate."""
        workers, size = self.workers, self.size
        return stage_window(workers, size, workers * self.profile.throughput(size), LEAD_SECONDS)

    def rate(self, now: float) -> float:
        """Arrivals a second, of late."""
        return self._arrivals.rate(now)

    def queue_wait(self, now: float) -> float:
        """Mean seconds at the gate, of late."""
        return self._gate.mean(now)

    def hop(self, now: float) -> float:
        """Mean seconds from the gate to the worker, of late."""
        return self._hops.mean(now)

    def batch_wait(self, now: float) -> float:
        """Mean seconds at the worker until the batch started, of late."""
        return self._waits.mean(now)

    def batch_wait_p10(self, now: float) -> float:
        """The 10th percentile of these."""
        return self._waits.quantile(now, WAIT_QUANTILE)

    def service(self) -> float:
        """Seconds of a batch of the size in force."""
        return self.profile.seconds(self.size)

    def mode(self, now: float) -> Mode:
        """PARD's: by the load factor μ (arrivals ÷ throughput), with hysteresis ε."""
        load = self.rate(now) / (max(1, self.workers) * self.profile.throughput(self.size))
        noise = self._arrivals.noise(now)
        if load > 1 + noise:
            self._mode = "overload"
        elif load < 1 - noise:
            self._mode = "normal"
        return self._mode

    def sight(self, now: float, later: tuple[float, float], outstanding: int, waiting: int = 0) -> Sight:
        """For the gate. `later`: what `outlook` says of the stage; `outstanding`: requests beyond the gate without a
        result; `waiting`: those before it, where a newcomer asks whether it is to stand there too.
        """
        return Sight(
            now=now,
            profile=self.profile,
            size=self.size,
            workers=self.workers,
            wait=self.hop(now) + self.batch_wait(now),
            outstanding=outstanding,
            waiting=waiting,
            later=later[0],
            least=later[1],
            mode=self.mode(now),
        )
