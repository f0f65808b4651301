"""One model's ready nodes: in which order they leave, how many may be outstanding, how fast its calls end. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from coordinator.tasks.news import Served
from policy.durations import Rate
from policy.fair import FairShares
from policy.line import Line
from policy.order import Offer, Order
from policy.window import Fleet, window

# A dispatch must reach its worker before that one has nothing to do: the way there and back of a busy fleet, in
# seconds. (On an idle one it is some hundredths.)
LEAD_SECONDS = 1.0


class Turn(NamedTuple):
    """Nodes, each with its task. `leaving`: whose turn it is, in order. `dropped`: their tasks cannot make their
    deadline any more. `serve_by`: what the worker of a task with that deadline is told, see `RequestMessage`.
    """

    leaving: list[tuple[int, str]]
    dropped: list[tuple[int, str]]
    serve_by: Callable[[float | None], float | None] = lambda deadline: None


class Lane:
    """A model's line. `shares`: the users' parts in it. `drops`: what waits here may be dropped as time passes. Times
    are monotonic seconds.
    """

    drops = False

    def __init__(self, order: Order) -> None:
        self.shares = FairShares()
        self._line = Line(order, self.shares)
        self._rate = Rate()

    def __len__(self) -> int:
        return len(self._line)

    def push(self, offer: Offer, node: str, length: float) -> None:
        """A node is ready. See `Line.push`."""
        self._line.push(offer, node, length)

    def update(self, offer: Offer) -> None:
        """The task's figures have changed."""
        self._line.update(offer)

    def drop(self, task: int) -> None:
        """Forgets the task's nodes."""
        self._line.drop(task)

    def window(self, fleet: Fleet, outstanding: int, now: float) -> int:
        """How many may be outstanding, of all coordinators together; so many are."""
        return window(fleet.slots, self._rate.per_second(now), LEAD_SECONDS)

    def take(self, room: int, charge: Callable[[int], None]) -> Turn:
        """Those whose turn it is, at most `room`. `charge` charges a task's user, once for each of its nodes, before
        the next is chosen.
        """
        turn = Turn([], [])
        while len(turn.leaving) < room and (popped := self._line.pop()) is not None:
            charge(popped[0])
            turn.leaving.append(popped)
        return turn

    def landed(self, now: float, served: Served | None) -> None:
        """A call has ended; `served`: its way, where one was made and that is known."""
        self._rate.finished(now, 1)
