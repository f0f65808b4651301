"""The workers of a stage, and the topic before them."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable, Sequence

from policy.slo.forming import Former
from policy.slo.profile import Profile
from workload.simulator.world import Batch, Sent, World


class Worker:
    """`here`: what waits for a batch, with the time it came. `leaving`: it only ends what it has begun. `wake_at`: it
    looks again then.
    """

    __slots__ = ("busy", "former", "here", "leaving", "since", "wake_at")

    def __init__(self, former: Former[int], since: float) -> None:
        self.former = former
        self.since = since
        self.here: dict[int, tuple[Sent, float]] = {}
        self.busy = False
        self.leaving = False
        self.wake_at = math.inf


class Crew:
    """Its workers take from the topic what their formers have room for, in turn, whenever they are free.

    `answered` is called with each batch that has ended; `dropped` with requests that formers gave up; `returned` with
    requests that had ended elsewhere: all when the news has reached the gate.
    """

    def __init__(
        self,
        world: World,
        profile: Profile,
        size: int,
        *,
        answered: Callable[[float, Batch], None],
        dropped: Callable[[float, list[int]], None],
        returned: Callable[[float, list[int]], None],
    ) -> None:
        self.size = size
        self.coming = 0
        self.busy_seconds = 0.0
        self.sizes: Counter[int] = Counter()
        self._world = world
        self._clock = world.clock
        self._profile = profile
        self._answered, self._dropped, self._returned = answered, dropped, returned
        self._workers: list[Worker] = []
        self._off_seconds = 0.0
        self._topic: deque[Sent] = deque()
        # In turn; a dict, because some leave it out of turn.
        self._free: dict[Worker, None] = {}

    def serving(self) -> int:
        """Workers that take requests."""
        return sum(not worker.leaving for worker in self._workers)

    def worker_seconds(self, now: float) -> float:
        """Of all workers while they were on, until now."""
        return self._off_seconds + sum(now - worker.since for worker in self._workers)

    def deliver(self, now: float, group: Sequence[Sent]) -> None:
        """These have reached the topic."""
        self._topic.extend(group)
        self._feed(now)

    def order(self, now: float, size: int) -> None:
        """Batches of another size, from now on."""
        self.size = size
        for worker in self._workers:
            self._tell(worker)
            if not worker.busy:
                self._serve(now, worker)

    def cancel(self, now: float, request: int) -> None:
        """It has ended elsewhere. What is in a batch runs on; what is in the topic is left when its turn comes."""
        for worker in self._workers:
            if worker.former.remove(request):
                del worker.here[request]
                self._clock.on_the_way(now, self._returned, [request])

    def staff(self, now: float, want: int, start_seconds: float) -> None:
        """So many workers: others start, and serve after `start_seconds`; or the newest end what they have begun."""
        have = self.serving() + self.coming
        for _ in range(want - have):
            self.coming += 1
            worker = Worker(Former(self._world.policy, self._profile, self.size), now)
            self._clock.at(now + start_seconds, self._begin, worker)
        leaving = max(0, min(have - want, self.serving()))
        for worker in [each for each in reversed(self._workers) if not each.leaving][:leaving]:
            worker.leaving = True
            if not worker.busy:
                self._leave(now, worker)

    def _tell(self, worker: Worker) -> None:
        worker.former.order(self._world.policy, self._profile, self.size)

    def _begin(self, now: float, worker: Worker) -> None:
        self.coming -= 1
        self._tell(worker)
        self._workers.append(worker)
        self._serve(now, worker)

    def _leave(self, now: float, worker: Worker) -> None:
        self._free.pop(worker, None)
        self._workers.remove(worker)
        self._off_seconds += now - worker.since
        self._topic.extendleft(sent for sent, _ in reversed(worker.here.values()))
        self._feed(now)

    def _feed(self, now: float) -> None:
        while self._topic and self._free:
            self._serve(now, next(iter(self._free)))

    def _serve(self, now: float, worker: Worker) -> None:
        """It is free: it takes what it has room for, and starts a batch or waits."""
        former = worker.former
        self._free.pop(worker, None)
        self._fill(now, worker)
        while True:
            formed = former.plan(now)
            if formed.drop:
                self._give_up(now, worker, formed.drop)
            if formed.start:
                self._start(now, worker, formed.start)
                return
            if not (formed.drop and self._topic):
                break
            self._fill(now, worker)
        if len(former) < self.size:
            self._free[worker] = None
        if formed.again_at is not None and formed.again_at < worker.wake_at:
            worker.wake_at = formed.again_at
            self._clock.at(formed.again_at, self._wake, worker)

    def _fill(self, now: float, worker: Worker) -> None:
        topic, ends = self._topic, self._world.requests.ends
        room = self.size - len(worker.former)
        while room > 0 and topic:
            sent = topic.popleft()
            request = sent[0]
            if ends[request]:
                self._clock.on_the_way(now, self._returned, [request])
                continue
            worker.former.add(request, sent[1])
            worker.here[request] = sent, now
            room -= 1

    def _wake(self, now: float, worker: Worker) -> None:
        if not worker.busy and not worker.leaving and now >= worker.wake_at:
            worker.wake_at = math.inf
            self._serve(now, worker)

    def _give_up(self, now: float, worker: Worker, requests: list[int]) -> None:
        for request in requests:
            del worker.here[request]
        self._clock.on_the_way(now, self._dropped, requests)

    def _start(self, now: float, worker: Worker, requests: list[int]) -> None:
        here = [worker.here.pop(request) for request in requests]
        hops = [came - sent[2] + self._clock.way for sent, came in here]
        seconds = self._world.jittered(self._profile.seconds(len(requests)))
        batch = Batch(requests, hops, [now - came for _, came in here], seconds)
        worker.busy, worker.wake_at = True, math.inf
        self.sizes[len(requests)] += 1
        self.busy_seconds += seconds
        self._clock.at(now + seconds, self._ended, (worker, batch))

    def _ended(self, now: float, what: tuple[Worker, Batch]) -> None:
        worker, batch = what
        worker.busy = False
        self._clock.on_the_way(now, self._answered, batch)
        if worker.leaving:
            self._leave(now, worker)
        else:
            self._serve(now, worker)
