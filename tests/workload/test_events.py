from __future__ import annotations

from workload.events import Event, Tally


def event(node: str | None, status: str) -> Event:
    return Event(task="task_1", node=node, status=status, name=f"{'node' if node else 'task'}.{status}")


def test_a_tally_counts_nodes_by_their_last_event() -> None:
    tally = Tally()
    tally.total = 4
    for node, status in (("a", "running"), ("b", "running"), ("a", "failed"), ("a", "running"), ("b", "completed")):
        assert not tally.take(event(node, status))
    assert (tally.ended, tally.text) == (1, "1 running")
    assert not tally.take(event("a", "failed"))
    assert (tally.ended, tally.text) == (2, "1 failed")
    assert not tally.take(event(None, "failed"))
    assert tally.ended == 2


def test_a_tally_asks_for_the_total_where_it_may_have_grown() -> None:
    tally = Tally()
    assert tally.take(event("a", "running"))
    tally.total = 3
    assert not tally.take(event("b", "running"))
    assert tally.take(event("map[1]", "running"))
    tally.total = 4
    assert not tally.take(event("map[0]", "running"))
    assert not tally.take(event("map[1]", "completed"))
    assert tally.take(event("added", "running"))


def test_an_event_of_the_task_is_the_last() -> None:
    assert event(None, "cancelled").last
    assert not event("a", "cancelled").last
