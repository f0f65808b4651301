"""Workers, one by one."""

from __future__ import annotations

import random

from policy.slo.profile import Profile
from tests.workload.simulator.sketches import PROFILE
from workload.simulator.clock import Clock
from workload.simulator.crew import Crew
from workload.simulator.requests import Requests
from workload.simulator.world import Batch, World

MANY = 1000


class Scene:
    """A crew under the policy "lazy", and what is heard of it: batches with the time when each has ended."""

    def __init__(self, *, size: int = 4, workers: int = 2) -> None:
        self.clock = Clock(0.0)
        self.requests = Requests([0.0] * MANY, 10.0, ())
        self.batches: list[tuple[float, list[int]]] = []
        self.returned: list[int] = []
        self.crew = Crew(
            World(self.clock, self.requests, "lazy", 0.0, random.Random(1)),
            Profile(PROFILE),
            size,
            answered=self._answered,
            dropped=lambda now, requests: None,
            returned=lambda now, requests: self.returned.extend(requests),
        )
        self.crew.staff(0.0, workers, 0.0)

    def _answered(self, now: float, batch: Batch) -> None:
        self.batches.append((round(now, 6), batch.requests))

    def come(self, at: float, request: int, serve_by: float) -> None:
        """It reaches the topic."""
        self.clock.at(at, self.crew.deliver, [(request, serve_by, at)])

    def run(self) -> None:
        self.clock.run([], lambda now: None)


def test_a_full_batch_starts_at_once_and_the_next_as_soon_as_that_has_ended() -> None:
    scene = Scene(workers=1, size=2)
    scene.clock.at(0.1, scene.crew.deliver, [(request, 5.0, 0.1) for request in range(4)])
    scene.run()
    assert scene.batches == [(0.25, [0, 1]), (0.4, [2, 3])]


def urgent(scene: Scene) -> None:
    """At one worker: a batch of request 0 alone, which has no time for a larger one, while 1 and 2 wait there."""
    scene.clock.at(0.1, scene.crew.deliver, [(0, 0.21, 0.1), (1, 5.0, 0.1), (2, 5.0, 0.1)])


def test_a_worker_that_goes_gives_back_what_waits_for_a_batch() -> None:
    scene = Scene(workers=1)
    urgent(scene)
    scene.clock.at(0.15, lambda now, _: scene.crew.staff(now, 0, 0.0), None)
    scene.clock.at(0.3, lambda now, _: scene.crew.staff(now, 1, 0.0), None)
    scene.run()
    assert scene.batches == [(0.2, [0]), (0.45, [1, 2])]


def test_a_worker_that_goes_ends_its_batch_and_costs_until_then() -> None:
    scene = Scene(workers=1, size=1)
    scene.come(0.1, 0, 5.0)
    scene.come(0.1, 1, 5.0)
    scene.clock.at(0.15, lambda now, _: scene.crew.staff(now, 0, 0.0), None)
    scene.run()
    assert scene.batches == [(0.2, [0])]
    assert round(scene.crew.worker_seconds(9.0), 6) == 0.2


def test_a_worker_costs_from_its_order_and_serves_when_it_has_started() -> None:
    scene = Scene(workers=0, size=1)
    scene.come(0.1, 0, 9.0)
    scene.clock.at(1.0, lambda now, _: scene.crew.staff(now, 1, 2.0), None)
    scene.clock.at(2.0, lambda now, _: scene.crew.staff(now, 1, 2.0), None)  # it is on its way already
    scene.run()
    assert scene.batches == [(3.1, [0])]
    assert scene.crew.worker_seconds(4.0) == 3.0


def test_what_has_ended_elsewhere_leaves_worker_and_topic_without_a_batch() -> None:
    scene = Scene(workers=1)
    urgent(scene)
    scene.clock.at(0.15, scene.crew.cancel, 1)
    scene.run()
    assert scene.batches == [(0.2, [0]), (0.3, [2])]
    assert scene.returned == [1]

    scene = Scene(workers=1, size=1)
    for request in range(2):
        scene.come(0.1, request, 5.0)
    scene.requests.open = 1
    scene.clock.at(0.15, lambda now, _: scene.requests.drop(1, 0, now), None)
    scene.run()
    assert scene.batches == [(0.2, [0])]
    assert scene.returned == [1]


def test_another_size_is_that_of_the_next_batches() -> None:
    scene = Scene(workers=1)
    urgent(scene)
    scene.clock.at(0.15, scene.crew.order, 1)
    scene.run()
    assert [len(requests) for _, requests in scene.batches] == [1, 1, 1]
