from __future__ import annotations

import pytest

from workernode.batching.learned import WEIGHT, Learned


def test_what_was_told_stands() -> None:
    learned = Learned({1: 0.1, 4: 0.4})
    assert not learned.saw(2, 9.0)
    profile = learned.profile(4)
    assert [profile.seconds(size) for size in (1, 2, 4)] == pytest.approx([0.1, 0.2, 0.4])


def test_beyond_it_goes_on_as_it_went_until_a_batch_shows_more() -> None:
    learned = Learned({1: 0.1, 4: 0.4})
    assert learned.profile(8).seconds(8) == pytest.approx(0.8)
    assert learned.saw(8, 0.5)
    assert learned.profile(8).seconds(8) == pytest.approx(0.5)
    assert learned.profile(16).seconds(16) == pytest.approx(0.7)


def test_where_nothing_is_known_a_batch_takes_no_time_and_is_tried() -> None:
    learned = Learned({})
    assert learned.profile(32).seconds(32) < 0.01
    assert learned.saw(3, 0.3)
    profile = learned.profile(32)
    assert (profile.seconds(1), profile.seconds(32)) == (0.3, 0.3)


def test_the_newest_batch_counts_by_its_weight() -> None:
    learned = Learned({})
    for seconds in (1.0, 2.0):
        learned.saw(1, seconds)
    assert learned.profile(1).seconds(1) == pytest.approx(1.0 + WEIGHT)


def test_a_profile_reaches_the_size_that_was_ordered() -> None:
    assert Learned({1: 0.1}).profile(16).largest == 16
    assert Learned({1: 0.1, 32: 1.0}).profile(16).largest == 32
