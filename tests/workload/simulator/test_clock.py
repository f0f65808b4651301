from __future__ import annotations

import math
import random

from workload.simulator.clock import Clock


def test_everything_is_called_in_the_order_of_time_whichever_way_it_came() -> None:
    clock, chance, seen = Clock(0.25), random.Random(1), list[tuple[float, float]]()

    def call(now: float, due: float) -> None:
        seen.append((now, due))
        if len(seen) < 500:
            clock.on_the_way(now, call, now + 0.25)
            later = now + chance.random()
            clock.at(later, call, later)

    clock.at(0.5, call, 0.5)
    arrivals = [chance.uniform(0, 20) for _ in range(100)]
    last = clock.run(sorted(arrivals), lambda now: call(now, now))
    assert all(now == due for now, due in seen)
    assert [now for now, _ in seen] == sorted(now for now, _ in seen)
    assert last == seen[-1][0]
    assert clock.events == len(seen)


def test_what_is_due_when_a_request_arrives_comes_before_it() -> None:
    clock, seen = Clock(1.0), list[str]()
    clock.at(2.0, lambda now, what: seen.append(what), "timer")
    clock.on_the_way(1.0, lambda now, what: seen.append(what), "message")
    clock.run([2.0], lambda now: seen.append("request"))
    assert seen == ["message", "timer", "request"]


def test_nothing_to_do_takes_no_time() -> None:
    assert Clock(0.1).run([], lambda now: None) == 0.0


def test_a_message_without_end_in_sight_still_arrives() -> None:
    clock, seen = Clock(0.0), list[float]()
    clock.run([3.0], lambda now: clock.on_the_way(now, lambda at, _: seen.append(at), None))
    assert seen == [3.0]
    assert not math.isinf(seen[0])
