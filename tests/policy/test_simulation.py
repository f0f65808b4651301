"""The rules at work on a simulated fleet."""

from __future__ import annotations

import statistics

from policy.fair import FairShares
from policy.line import Line
from tests.policy.simulation import AGENTS, MIXED, Fleet, Job, latencies, layers, poisson

SEEDS = range(5)


def test_shortest_remaining_is_quicker_on_average_than_first_come() -> None:
    """In every one of the seeds; figures of 20 are in docs/decisions/0010-order-at-dispatch.md."""
    for seed in SEEDS:
        first, shortest = (
            statistics.fmean(latencies(order, poisson(MIXED, slots=8, load=0.95, count=300, seed=seed), 8))
            for order in ("fcfs", "srtf")
        )
        assert shortest < 0.95 * first


def test_each_call_is_made_once_and_every_task_ends() -> None:
    jobs = poisson(MIXED, slots=8, load=0.9, count=100, seed=1)
    found = latencies("srtf", jobs, 8)
    assert len(found) == 100
    assert all(job.left == 0 and job.seconds == [] and job.finished_at > job.arrived_at for job in jobs)


def bag(number: int, user: int, arrived_at: float, calls: int) -> Job:
    return Job(number, user, arrived_at, [calls], [1.0] * calls, allowed=1.0)


def test_a_long_task_ends_though_shorter_ones_never_cease() -> None:
    """Two slots, and more short tasks than they can serve."""
    short = [bag(number, 1, number * 0.5, 2) for number in range(1, 2000)]
    long = bag(0, 1, 0.0, 20)
    latencies("srtf", [long, *short], 2)
    assert long.finished_at < 1000
    assert max(job.finished_at for job in short) > 1900


def test_one_user_with_100_000_nodes_does_not_delay_anothers_first_answer() -> None:
    shares = FairShares()
    fleet = Fleet(Line("srtf", shares), 8, shares)
    much, little = bag(1, 1, 0.0, 100_000), bag(2, 2, 100.5, 1)
    fleet.run([much, little])
    assert little.finished_at - little.arrived_at <= 2.0
    assert much.finished_at >= 12_500


def test_two_users_who_want_all_get_their_weights() -> None:
    shares = FairShares()
    shares.weight(1, 3.0)
    fleet = Fleet(Line("fcfs", shares), 4, shares)
    one, other = bag(1, 1, 0.0, 900), bag(2, 2, 0.0, 900)
    fleet.run([one, other])
    assert one.finished_at == 300
    assert other.finished_at == 450


def test_the_five_tasks_run_in_layers() -> None:
    assert [sum(layers(shape)) for shape in AGENTS] == [30, 18, 12, 21, 24]
    assert [len(layers(shape)) for shape in AGENTS] == [10, 6, 4, 6, 8]
