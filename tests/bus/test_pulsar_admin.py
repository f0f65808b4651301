"""What Pulsar's figures mean."""

from __future__ import annotations

from typing import Any

import pytest

from bus.port import Backlog
from bus.pulsar.admin import count


@pytest.mark.parametrize(
    ("figures", "backlog"),
    [
        ({}, Backlog(0, 0, 0)),
        ({"msgBacklog": 7, "msgDelayed": 2, "unackedMessages": 3}, Backlog(ready=2, delayed=2, in_flight=3)),
        # Messages of one batch, which is one entry.
        ({"msgBacklog": 1, "unackedMessages": 5}, Backlog(ready=0, delayed=0, in_flight=5)),
        # Batches of ten: two are held, three wait.
        (
            {"msgBacklog": 5, "unackedMessages": 20, "consumers": [{"avgMessagesPerEntry": 10}, {}]},
            Backlog(ready=30, delayed=0, in_flight=20),
        ),
        ({"msgBacklog": 5, "consumers": []}, Backlog(ready=5, delayed=0, in_flight=0)),
        # As seen after a worker stood still: all was acked, one of it by way of two deliveries.
        ({"msgBacklog": 0, "msgDelayed": 0, "unackedMessages": 1}, Backlog(0, 0, 0)),
    ],
)
def test_a_backlog_is_read_from_its_figures(figures: dict[str, Any], backlog: Backlog) -> None:
    assert count(figures) == backlog
