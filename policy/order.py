"""Which task goes first."""

from __future__ import annotations

from typing import Literal

import msgspec

Order = Literal["fcfs", "srtf", "deadline", "relaxed"]
# Priority, figure of the order, arrival, task: the smaller goes first.
Rank = tuple[int, float, float, int]

# Seconds of remaining work that weigh as much as one second of waiting.
PATIENCE = 20.0
# Where the order is by deadline, a task without one is due so long after it came.
DUE_SECONDS = 3600.0


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """A task that has ready nodes. Times are Unix seconds.

    `work`: the sum of the seconds that its unfinished calls are expected to take. `priority`: the higher goes first.
    """

    task: int
    user: int
    arrived_at: float
    work: float
    deadline: float | None = None
    priority: int = 0


def rank(order: Order, offer: Offer) -> Rank:
    """Orders tasks, the smaller first: by priority, then by `order`, then by arrival, then by number.

    "srtf": by remaining work, but waiting counts too: what came `PATIENCE` times its own remaining work earlier goes
    first whatever is left of the other, so that nobody waits for ever. "deadline": by when it is due. "relaxed": the
    other way round, the one that is due last goes first (PARD's order in overload, https://arxiv.org/abs/2602.08747).

    Why `work` and not the critical path, and why so patient: docs/decisions/0010-order-at-dispatch.md, measured by
    `python -m tests.policy.simulation 20 400`.
    """
    return (-offer.priority, _figure(order, offer), offer.arrived_at, offer.task)


def _figure(order: Order, offer: Offer) -> float:
    if order == "srtf":
        return offer.arrived_at + PATIENCE * offer.work
    if order == "fcfs":
        return offer.arrived_at
    due = offer.arrived_at + DUE_SECONDS if offer.deadline is None else offer.deadline
    return due if order == "deadline" else -due
