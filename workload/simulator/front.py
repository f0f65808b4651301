"""A stage as its gate sees it: what comes, what leaves, what of it is done."""

from __future__ import annotations

from array import array
from collections.abc import Callable

from policy.fair import FairShares
from policy.line import Line
from policy.order import Offer
from policy.slo.gate import Gate
from policy.slo.pipeline import Stage
from policy.slo.profile import Profile
from policy.slo.sight import Sight
from policy.slo.watch import StageWatch
from workload.simulator.crew import Crew
from workload.simulator.world import Batch, Sent, World


class Front:
    """One stage: gate, watch, crew. `outstanding`: requests beyond the gate without a result. `spent`: seconds of a
    worker, of each request; `wasted_seconds`: of those that were in vain.

    `done` is called with what a batch has done, `dropped` with each request that is given up here.
    """

    def __init__(
        self,
        world: World,
        stage: Stage,
        number: int,
        size: int,
        *,
        done: Callable[[float, Front, list[int]], None],
        dropped: Callable[[float, Front, int], None],
    ) -> None:
        profile = Profile(stage.profile)
        self.stage = stage
        self.number = number
        self.watch = StageWatch(profile, size, 0)
        self.crew = Crew(
            world, profile, size, answered=self._answered, dropped=self._given_up, returned=self._returned
        )
        self.spent = array("d", bytes(8 * len(world.requests.ends)))
        self.wasted_seconds = 0.0
        self.served = 0
        self.dropped = 0
        self.arrived = 0
        self._new = 0  # of these, since the last tick
        self._world = world
        self._dated = world.policy != "none"
        self._done, self._drop = done, dropped
        self._shares = FairShares()
        self._gate = Gate(world.policy, Line("fcfs", self._shares))
        self._sight = self.watch.sight(0.0, (0.0, 0.0), 0)
        self._window = 0
        self._came: dict[int, float] = {}
        self.outstanding = 0

    def admits(self, now: float, request: int) -> bool:
        """Whether it is let in at the door."""
        return self._gate.policy.admits(self._look(now, len(self._gate)), self._deadline(request))

    def arrive(self, now: float, request: int) -> None:
        """It waits at the gate."""
        requests = self._world.requests
        user = requests.user[request] if requests.user else 0
        arrived_at = requests.arrived_at[request]
        self._came[request] = now
        self._new += 1
        offer = Offer(task=request, user=user, arrived_at=arrived_at, work=0.0, deadline=self._deadline(request))
        self._gate.push(offer, self.stage.id, 0.0)

    def dispatch(self, now: float) -> None:
        """Lets out as many as the workers can soon use."""
        room = self._window - self.outstanding
        if room <= 0 or not len(self._gate):
            return
        sight = self._look(now, 0)
        taken = self._gate.take(room, sight, self._charge)
        if taken.send:
            self._send(now, [request for request, _ in taken.send], sight)
        for request, _ in taken.dropped:
            self._lose(now, request)

    def tick(self, now: float, later: tuple[float, float]) -> None:
        """Looks at what has been seen of late, and drops what has lost hope. `later`: see `outlook`."""
        self.arrived += self._new
        self.watch.arrived(now, self._new)
        self._new = 0
        self.watch.workers = self.crew.serving()
        self._sight = self.watch.sight(now, later, self.outstanding)
        self._window = self.watch.window()
        if len(self._gate):
            for request, _ in self._gate.prune(self._look(now, 0)):
                self._lose(now, request)
            self.dispatch(now)

    def order(self, now: float, size: int, workers: int, start_seconds: float) -> None:
        """The planner's: batches of this size, so many workers."""
        if size != self.crew.size:
            self.watch.size = size
            self.crew.order(now, size)
        self.crew.staff(now, workers, start_seconds)

    def forget(self, now: float, request: int) -> None:
        """It has ended elsewhere."""
        if self._gate.drop(request):
            del self._came[request]
        else:
            self.crew.cancel(now, request)

    def _deadline(self, request: int) -> float | None:
        requests = self._world.requests
        return requests.arrived_at[request] + requests.slo_seconds if self._dated else None

    def _look(self, now: float, waiting: int) -> Sight:
        """What changes with each request, as it is now; the rest as it was at the last tick."""
        return self._sight._replace(now=now, outstanding=self.outstanding, waiting=waiting)

    def _charge(self, request: int) -> None:
        requests = self._world.requests
        self._shares.charge(requests.user[request] if requests.user else 0, 1.0)

    def _send(self, now: float, requests: list[int], sight: Sight) -> None:
        self.watch.left_gate(now, [now - self._came.pop(request) for request in requests])
        self.outstanding += len(requests)
        serve_by = self._gate.policy.serve_by
        group: list[Sent] = [(request, serve_by(sight, self._deadline(request)), now) for request in requests]
        self._world.clock.on_the_way(now, self.crew.deliver, group)

    def _lose(self, now: float, request: int) -> None:
        self._came.pop(request, None)
        self.dropped += 1
        self._drop(now, self, request)

    def _answered(self, now: float, batch: Batch) -> None:
        share = batch.seconds / len(batch.requests)
        ends, spent = self._world.requests.ends, self.spent
        open_ones = [request for request in batch.requests if not ends[request]]
        self.wasted_seconds += share * (len(batch.requests) - len(open_ones))
        for request in open_ones:
            spent[request] = share
        self.served += len(batch.requests)
        self.outstanding -= len(batch.requests)
        self.watch.batch(now, batch.hops, batch.waits)
        self._done(now, self, open_ones)
        self.dispatch(now)

    def _given_up(self, now: float, requests: list[int]) -> None:
        self.outstanding -= len(requests)
        for request in requests:
            if not self._world.requests.ends[request]:
                self._lose(now, request)
        self.dispatch(now)

    def _returned(self, now: float, requests: list[int]) -> None:
        self.outstanding -= len(requests)
        self.dispatch(now)
