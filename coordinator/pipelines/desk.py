"""What waits before one stage of a pipeline: its gate, and what is seen of the stage. No I/O; the clock is given."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from coordinator.tasks.lane import Lane, Turn
from coordinator.tasks.news import Served
from policy.order import Offer
from policy.slo.gate import Gate
from policy.slo.pipeline import Pipeline, Stage
from policy.slo.profile import Profile
from policy.slo.sight import Sight
from policy.slo.watch import StageWatch
from policy.window import Fleet


class Desk(Lane):
    """A stage's lane. Its requests' deadlines are Unix times; so are those of `clock`.

    `outlook`: seconds from a stage's end to the pipeline's, expected and least. `outstanding`: sent, and without a
    result, by all coordinators, as was last known. `arrived`, `dropped`, `served`: counts; `worker_seconds`: how long
    its workers have been there.
    """

    drops = True

    def __init__(
        self,
        pipeline: Pipeline,
        stage: Stage,
        clock: Callable[[], float],
        outlook: Callable[[Pipeline, Stage], tuple[float, float]],
    ) -> None:
        super().__init__("fcfs")
        profile = Profile(stage.profile)
        self.pipeline = pipeline
        self.stage = stage
        self.watch = StageWatch(profile, profile.best(), 0)
        self.outstanding = 0
        self.arrived = self.dropped = self.served = 0
        self.worker_seconds = 0.0
        self._gate = Gate(pipeline.policy, self._line)
        self._clock = clock
        self._outlook = outlook
        self._came: dict[tuple[int, str], float] = {}
        self._manned_at = clock()

    def __len__(self) -> int:
        return len(self._gate)

    def push(self, offer: Offer, node: str, length: float) -> None:
        now = self._clock()
        self._came[offer.task, node] = now
        self.arrived += 1
        self.watch.arrived(now, 1)
        self._gate.push(offer, node, length)

    def update(self, offer: Offer) -> None:
        self._gate.update(offer)

    def drop(self, task: int) -> None:
        for node in self._gate.drop(task):
            del self._came[task, node]

    def window(self, fleet: Fleet, outstanding: int, now: float) -> int:
        self.man(fleet)
        self.outstanding = outstanding
        return self.watch.window()

    def take(self, room: int, charge: Callable[[int], None]) -> Turn:
        sight = self._sight()
        sent, dropped = self._gate.take(room, sight, charge)
        dropped += self._gate.prune(sight)
        self.watch.left_gate(sight.now, [sight.now - self._came.pop(node) for node in sent])
        for node in dropped:
            del self._came[node]
        self.dropped += len(dropped)
        return Turn(sent, dropped, partial(self._gate.policy.serve_by, sight))

    def landed(self, now: float, served: Served | None) -> None:
        super().landed(now, served)
        if served is None:
            return
        self.served += 1
        clock = self._clock()
        # The way back counts as well: the next stage's requests come so much later.
        hop = served.received_at - served.submitted_at + max(0.0, clock - served.finished_at)
        self.watch.batch(clock, [hop], [served.started_at - served.received_at])

    def admits(self, deadline: float) -> bool:
        """Whether a request that comes to the pipeline now can make it, as far as this stage tells."""
        return self._gate.policy.admits(self._sight(waiting=len(self)), deadline)

    def man(self, fleet: Fleet) -> None:
        """So many workers are there now."""
        now = self._clock()
        self.worker_seconds += self.watch.workers * max(0.0, now - self._manned_at)
        self._manned_at = now
        self.watch.workers = fleet.workers
        if fleet.workers:
            self.watch.size = max(1, min(fleet.slots // fleet.workers, self.watch.profile.largest))

    def _sight(self, waiting: int = 0) -> Sight:
        now = self._clock()
        return self.watch.sight(now, self._outlook(self.pipeline, self.stage), self.outstanding, waiting)
