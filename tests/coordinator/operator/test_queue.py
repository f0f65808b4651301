"""Which AIModel is looked at next."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from coordinator.operator.reconcile.queue import FIRST_PAUSE, LEAST_PAUSE, LONGEST_PAUSE, SPACING, WorkQueue
from coordinator.operator.wanted.aimodel import Key

A, B = ("n", "a"), ("n", "b")


def queue(chance: float = 0.0) -> WorkQueue:
    return WorkQueue(lambda: chance)


def test_who_has_been_due_the_longest_is_first_and_in_work_once() -> None:
    q = queue()
    q.add(B, 1.0)
    q.add(A, 2.0)
    q.add(B, 3.0)
    assert (q.take(3.0), q.take(3.0), q.take(3.0)) == (B, A, None)


def test_news_about_what_is_at_work_make_it_come_again() -> None:
    q = queue()
    q.add(A, 0.0)
    assert q.take(0.0) == A
    q.add(A, 0.1)
    assert q.take(0.1) is None
    q.done(A, 0.2)
    assert q.take(0.2) is None
    assert q.next_at() == 0.2 + SPACING
    assert q.take(0.2 + SPACING) == A


def test_what_is_held_by_work_does_not_hold_others() -> None:
    q = queue()
    q.add(A, 0.0)
    assert q.take(0.0) == A
    q.add(A, 0.0)
    q.add(B, 0.1)
    assert q.take(0.1) == B


def test_an_earlier_look_replaces_a_later_one_and_not_the_other_way() -> None:
    q = queue()
    q.add(A, 0.0, 10.0)
    q.add(A, 0.0, 20.0)
    assert q.next_at() == 10.0
    q.add(A, 1.0, 2.0)
    assert (q.take(2.9), q.take(3.0), q.take(20.0)) == (None, A, None)


def test_pauses_double_up_to_a_limit_and_end_with_a_success() -> None:
    q, now, pauses = queue(chance=1.0), 0.0, []
    for _ in range(12):
        q.add(A, now)
        now = q.next_at() or now
        assert q.take(now) == A
        pauses.append(q.failed(A, now))
    assert pauses[:3] == [2 * FIRST_PAUSE, 4 * FIRST_PAUSE, 8 * FIRST_PAUSE]
    assert pauses[-1] == LONGEST_PAUSE
    assert q.failing() == 1
    now = q.next_at() or now
    assert q.take(now) == A
    q.done(A, now)
    assert q.failing() == 0


def test_news_end_a_pause_but_its_first_second() -> None:
    q = queue(chance=1.0)
    for at in (0.0, 100.0, 200.0, 300.0):
        q.add(A, at)
        assert q.take(at) == A
        assert q.failed(A, at) >= 1.0
    q.add(A, 300.1)
    assert q.next_at() == 300.0 + LEAST_PAUSE


def test_those_that_fail_together_come_back_apart() -> None:
    chances = iter([0.0, 0.25, 0.5, 0.75])
    q = WorkQueue(lambda: next(chances))
    keys = [("n", name) for name in "abcd"]
    for key in keys:
        q.add(key, 0.0)
    assert [q.take(0.0) for _ in keys] == keys
    assert len({q.failed(key, 0.0) for key in keys}) == 4


def test_what_is_forgotten_does_not_come() -> None:
    q = queue()
    q.add(A, 0.0)
    q.forget(A)
    assert q.take(1.0) is None
    assert q.load(1.0) == 0
    q.add(A, 2.0)
    assert q.take(2.0) == A


@given(st.lists(st.tuples(st.sampled_from([A, B]), st.floats(0, 10)), min_size=1, max_size=30))
def test_the_load_is_what_is_due_or_at_work(adds: list[tuple[Key, float]]) -> None:
    q = queue()
    for key, after in adds:
        q.add(key, 0.0, after)
    due = {key for key, after in adds if after <= 5.0}
    assert q.load(5.0) == len(due)
    taken = q.take(5.0)
    assert (taken is not None) == bool(due)
    assert q.load(5.0) == len(due)


class Machine(RuleBasedStateMachine):
    """No news are lost, nothing is at work twice, whatever happens in whatever order."""

    at_work = Bundle("at_work")

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.queue = queue(chance=0.5)
        self.working: set[Key] = set()
        self.owed: set[Key] = set()

    @rule(key=st.sampled_from([A, B, ("n", "c")]), after=st.sampled_from([0.0, 0.0, 3.0]))
    def add(self, key: Key, after: float) -> None:
        self.queue.add(key, self.now, after)
        self.owed.add(key)

    @rule(target=at_work, passed=st.sampled_from([0.0, 0.1, 1.0, 300.0]))
    def take(self, passed: float) -> Key | None:
        self.now += passed
        key = self.queue.take(self.now)
        if key is not None:
            assert key not in self.working
            assert key in self.owed
            self.working.add(key)
            self.owed.discard(key)
        return key

    @rule(key=consumes(at_work), fails=st.booleans())
    def end(self, key: Key | None, fails: bool) -> None:
        if key is None:
            return
        self.working.discard(key)
        if fails:
            self.queue.failed(key, self.now)
            self.owed.add(key)
        else:
            self.queue.done(key, self.now)

    @invariant()
    def what_is_owed_comes(self) -> None:
        at = self.queue.next_at()
        assert (at is not None) == bool(self.owed - self.working)
        assert self.queue.load(self.now + 1000) == len(self.owed | self.working)


TestMachine = Machine.TestCase
