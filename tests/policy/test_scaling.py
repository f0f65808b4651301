"""The rule of the built-in scaler: single decisions, and whole loads beside a rule like KEDA's."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.parts import divided
from policy.scaling import Decision, Ordered, Rule, Sample, Scaling
from policy.starts import MOST_SECONDS, UNKNOWN_SECONDS, Starts
from tests.policy.scaled import SCALING, SLOTS, START_SECONDS, Load, Naive, Ours, Outcome, World, loads, of_trace

# Beside the repository, where there is one; see docs/benchmarks.md.
TRACE = Path(__file__).parents[3] / "shared" / "traces" / "azure_llm_2023_conversation.csv"


class Driver:
    """Looks once a second; every replica is ready at once, unless told otherwise."""

    def __init__(self, **scaling: float) -> None:
        self.scaling = Scaling(**{"target": 4, "max": 20, **scaling})  # type: ignore[arg-type]
        self.rule = Rule()
        self.now = 0.0
        self.wanted = 0
        self.last = Decision(0, "", 0)

    def look(
        self,
        waiting: int = 0,
        running: int = 0,
        *,
        moved: bool = False,
        ready: int | None = None,
        failed: bool = False,
        ordered: Ordered | None = None,
    ) -> int:
        sample = Sample(self.now, waiting, running, moved, self.wanted if ready is None else ready)
        self.last = self.rule.decide(self.scaling, sample, self.wanted, failed=failed, ordered=ordered)
        self.wanted = self.last.replicas
        self.now += 1.0
        return self.wanted

    def pass_seconds(self, seconds: int, running: int = 0) -> int:
        for _ in range(seconds):
            self.look(running=running)
        return self.wanted


def test_the_first_message_starts_one() -> None:
    driver = Driver()
    assert driver.look() == 0
    assert driver.look(waiting=1) == 1
    assert driver.last.why == "1 requests wait and 0 run"


def test_a_burst_gets_enough_for_all_of_it_at_once_and_no_more_than_the_most() -> None:
    driver = Driver()
    driver.look()
    assert driver.look(waiting=30, running=2) == 8
    assert driver.look(waiting=1000) == 20
    assert driver.last.why.endswith("the most")
    assert driver.last.need == 250


def test_a_heap_that_came_at_once_is_not_taken_for_growth() -> None:
    driver = Driver(max=1000)
    driver.pass_seconds(10)
    assert [driver.look(waiting=400) for _ in range(10)] == [100] * 10


def test_what_goes_on_growing_is_reckoned_with_for_as_long_as_a_start_takes() -> None:
    driver = Driver(max=1000)
    driver.pass_seconds(10)
    for second in range(1, 12):
        driver.look(waiting=100 * second, ready=0)
    # 1,100 are there; 100 more a second for the 5 s that a start is taken to last, less what may be chance.
    assert 1100 / 4 < driver.wanted <= 1600 / 4
    assert "more are expected" in driver.last.why


def test_a_small_excess_is_worth_a_replica_only_where_it_lasts() -> None:
    driver = Driver(min=10)
    driver.pass_seconds(10, running=40)
    assert driver.look(running=44) == 10
    assert driver.pass_seconds(3, running=40) == 10
    assert driver.pass_seconds(int(UNKNOWN_SECONDS) + 2, running=43) == 11


def test_fewer_are_wanted_only_when_no_more_were_needed_for_long_and_one_change_at_a_time() -> None:
    driver = Driver(down_seconds=60)
    assert driver.look(waiting=40) == 10
    assert driver.pass_seconds(40, running=40) == 10
    assert driver.pass_seconds(55, running=20) == 10
    assert driver.pass_seconds(8, running=20) == 6  # 20, and a tenth to spare, of 4 each
    assert driver.last.why in ("", "no more were needed for 60 s")
    assert driver.pass_seconds(50, running=4) == 6
    assert driver.pass_seconds(15, running=4) == 1


def test_to_zero_only_after_a_silence() -> None:
    driver = Driver(down_seconds=10, idle_seconds=120)
    driver.look(waiting=9)
    assert driver.pass_seconds(100) == 1
    driver.look(moved=True)  # a short call, between two looks
    assert driver.pass_seconds(119) == 1
    assert driver.pass_seconds(1) == 0
    assert driver.last.why == "no work for 120 s"


def test_a_silence_shorter_than_the_wait_for_fewer_is_enough() -> None:
    driver = Driver(down_seconds=600, idle_seconds=5)
    driver.look(waiting=40)
    assert driver.pass_seconds(6) == 0


def test_after_a_start_of_the_scaler_nobody_is_sent_away_before_it_has_seen_enough() -> None:
    driver = Driver(down_seconds=60, idle_seconds=300)
    driver.wanted = 8
    assert driver.pass_seconds(59) == 8
    assert driver.pass_seconds(5) == 1
    assert driver.pass_seconds(230) == 1
    assert driver.pass_seconds(10) == 0


def test_after_a_gap_too() -> None:
    driver = Driver(down_seconds=60, idle_seconds=60)
    driver.look(waiting=40)
    driver.now += 3600.0
    assert driver.pass_seconds(59) == 10
    assert driver.pass_seconds(5) == 0


def test_bounds_hold_at_once() -> None:
    driver = Driver(min=3, max=5)
    assert driver.look() == 3
    assert driver.pass_seconds(1000) == 3
    driver.scaling = Scaling(target=4, min=0, max=2)
    assert driver.look(waiting=20) == 2


def test_what_has_failed_gets_no_more_than_it_has() -> None:
    driver = Driver()
    driver.look(waiting=4)
    assert driver.look(waiting=100, failed=True) == 1
    assert driver.last.why == "failed: no more than there are"
    assert driver.look(waiting=100) == 20


def test_what_has_failed_may_try_one_worker() -> None:
    driver = Driver()
    assert driver.look(failed=True) == 0
    assert driver.look(waiting=100, failed=True) == 1


def test_an_order_goes_before_the_work_within_the_bounds() -> None:
    driver = Driver(max=6)
    assert driver.look(ordered=Ordered(4, "planner")) == 4
    assert driver.last.why == "planner"
    assert driver.look(ordered=Ordered(9, "planner")) == 6
    assert driver.look(waiting=1000, ordered=Ordered(2, "planner")) == 2
    assert driver.look(ordered=Ordered(0, "planner")) == 0


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 80), st.booleans()), max_size=80), st.integers(0, 3))
def test_whatever_comes_bounds_are_kept_and_waiting_work_has_a_worker(
    looks: list[tuple[int, int, bool]], least: int
) -> None:
    driver = Driver(min=least, max=7, down_seconds=5, idle_seconds=9)
    for waiting, running, failed in looks:
        before = driver.wanted
        wanted = driver.look(waiting, running, failed=failed)
        assert wanted <= (max(7, 1) if not failed else max(before, 1))
        assert wanted >= (0 if failed else least)
        assert wanted or not waiting + running


def test_a_start_is_measured() -> None:
    starts = Starts()
    assert starts.seconds == UNKNOWN_SECONDS
    starts.saw(0.0, 0, 0)
    starts.saw(1.0, 2, 0)
    starts.saw(10.0, 2, 0)
    starts.saw(16.0, 2, 1)  # 15 s, against the 5 s that were believed
    assert starts.seconds == 10.0
    starts.saw(17.0, 2, 2)
    assert starts.seconds == 10.0
    starts.saw(20.0, 3, 2)
    starts.saw(2000.0, 3, 3)
    assert starts.seconds == (10.0 + MOST_SECONDS) / 2


def test_a_start_that_is_called_off_tells_nothing() -> None:
    starts = Starts()
    starts.saw(0.0, 1, 0)
    starts.saw(50.0, 0, 0)
    starts.saw(51.0, 1, 0)
    starts.saw(52.0, 1, 1)
    assert starts.seconds == (UNKNOWN_SECONDS + 1) / 2


@pytest.mark.parametrize(
    ("total", "rooms", "parts"),
    [
        (0, [3, 3], [0, 0]),
        (1, [80, 80], [1, 0]),
        (4, [80, 80], [4, 0]),
        (6, [80, 80], [4, 2]),
        (100, [80, 80], [52, 48]),
        (100, [240, 80], [76, 24]),
        (100, [80, 0], [100, 0]),
        (5, [0, 0], [0, 0]),
    ],
)
def test_work_is_divided_in_pieces(total: int, rooms: list[int], parts: list[int]) -> None:
    assert divided(total, rooms, 4) == parts


@given(st.integers(0, 10_000), st.lists(st.integers(0, 500), min_size=1, max_size=6), st.integers(1, 50))
def test_nothing_is_lost_where_work_is_divided(total: int, rooms: list[int], piece: int) -> None:
    parts = divided(total, rooms, piece)
    assert sum(parts) == (total if any(rooms) else 0)
    assert all(part >= 0 and (room or not part) for part, room in zip(parts, rooms, strict=True))


def play(load: Load) -> tuple[Outcome, Outcome]:
    """Under our rule and under the naive one."""
    return World(load, Ours()).play(), World(load, Naive()).play()


def named(name: str) -> Load:
    return next(load for load in loads(random.Random(1)) if load.name.startswith(name))


def test_noise_of_a_constant_load_does_not_flap() -> None:
    ours, naive = play(named("constant"))
    assert ours.changes(begin=300.0) <= 6  # in 55 minutes
    assert ours.wait(0.99) < 0.5
    assert ours.replica_seconds < naive.replica_seconds


def test_one_replica_per_request_does_not_flap_either() -> None:
    load = named("constant")._replace(requests=[each for each in named("constant").requests if each[0] % 5 < 1])
    outcome = World(load, Ours(Scaling(target=1, max=30, down_seconds=60.0))).play()
    # Fewer come at most once in `down_seconds`; what comes is then at most as many rises.
    falls = sum(b < a for a, b in zip(outcome.wanted, outcome.wanted[1:], strict=False))
    assert falls <= 3600 / 60


def test_a_burst_is_served_by_as_many_as_it_needs() -> None:
    ours, naive = play(named("500"))
    assert max(ours.wanted) == SCALING.max
    assert ours.wait(0.99) < START_SECONDS + 1.5 * 500 * 4.0 / (SCALING.max * SLOTS)
    assert ours.replica_seconds < naive.replica_seconds
    assert ours.wait(0.5) < naive.wait(0.5) / 2


def test_a_wave_is_met_while_it_rises() -> None:
    ours, naive = play(named("20 a second"))
    assert ours.wait(0.99) < START_SECONDS + 2.0
    assert ours.wait(0.99) < naive.wait(0.99) / 2
    assert ours.replica_seconds < naive.replica_seconds


def test_a_step_up_is_followed_and_a_step_down_given_back() -> None:
    ours, naive = play(named("1, 10, 3"))
    assert ours.wait(0.99) < naive.wait(0.99)
    assert ours.replica_seconds < naive.replica_seconds
    assert max(ours.wanted[2400:]) <= max(ours.wanted[900:1800]) / 2


def test_a_request_now_and_then_starts_a_worker_each_time_and_no_more() -> None:
    ours, _ = play(named("one each 10"))
    assert max(ours.wanted) == 1
    assert ours.changes() == 22  # up and down again, for each of eleven
    assert max(ours.waits) <= START_SECONDS + 1.0


def test_calls_too_short_to_be_seen_keep_their_worker() -> None:
    ours, naive = play(named("one of 50 ms"))
    assert ours.changes() == 1
    assert naive.changes() > 1


@pytest.mark.skipif(not TRACE.exists(), reason="the trace is not beside the repository")
def test_a_real_trace_costs_less_and_waits_less() -> None:
    ours, naive = play(of_trace(TRACE))
    assert ours.replica_seconds < naive.replica_seconds
    assert ours.wait(0.99) < naive.wait(0.99)


@pytest.mark.parametrize("chooser", [Ours, Naive])
def test_everything_is_served(chooser: Callable[[], Ours | Naive]) -> None:
    load = named("500")
    assert len(World(load, chooser()).play().waits) == len(load.requests)
