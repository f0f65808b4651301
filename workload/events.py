"""The events of a task, and how far it has come by them. Pure."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec

RUNNING = "running"


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a node, or of the whole task where `node` is None. `cursor`: where to go on after it.

    `name`: `node.completed`, `task.failed`, …; `document` holds the response; `at`: Unix time in seconds.
    """

    cursor: str = ""
    name: str = ""
    task: str
    node: str | None = None
    status: str
    document: str | None = None
    usage: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    at: float | None = None

    @property
    def last(self) -> bool:
        """The task has ended."""
        return self.name.startswith("task.")


class Tally:
    """Counts nodes by their last event. `total`: as the task last told; nodes may be added while it runs."""

    def __init__(self) -> None:
        self.total = 0
        self._statuses: dict[str, str] = {}
        self._counts: Counter[str] = Counter()
        self._lists: set[str] = set()

    def take(self, event: Event) -> bool:
        """Whether `total` may have changed."""
        if event.node is None:
            return False
        self._counts[self._statuses.get(event.node, "")] -= 1
        self._statuses[event.node] = event.status
        self._counts[event.status] += 1
        origin, bracket, _ = event.node.partition("[")
        fresh_list = bool(bracket) and origin not in self._lists
        if fresh_list:
            self._lists.add(origin)
        return fresh_list or len(self._statuses) > self.total

    @property
    def ended(self) -> int:
        """Nodes that have ended, as far as is known: a failed one may be tried again."""
        return len(self._statuses) - self._counts[RUNNING]

    @property
    def text(self) -> str:
        """What is not completed, in words."""
        shown = (
            (status, count) for status, count in sorted(self._counts.items()) if status and status != "completed"
        )
        return ", ".join(f"{count} {status}" for status, count in shown if count > 0)
