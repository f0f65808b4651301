from __future__ import annotations

import pytest

from bus.messages import BatchUse
from workernode.batching.tally import Tally


def test_what_has_been_since_the_last_time() -> None:
    tally = Tally()
    tally.began([number / 100 for number in range(20, 0, -1)])
    tally.ended(1.0)
    tally.ended(2.0)
    use = tally.taken(16, 3)
    assert (use.size, use.queued, use.batches, use.requests) == (16, 3, 2, 20)
    assert use.wait == pytest.approx(0.105)
    assert (use.wait_p10, use.service) == (0.02, 1.5)
    assert tally.taken(16, 0) == BatchUse(
        size=16, queued=0, batches=0, requests=0, wait=0.0, wait_p10=0.0, service=0.0
    )


def test_the_tenth_percentile_of_few_is_the_least() -> None:
    tally = Tally()
    tally.began([0.3, 0.1])
    assert tally.taken(2, 0).wait_p10 == 0.1
