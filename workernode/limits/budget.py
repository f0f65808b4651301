"""A retry budget: an outage must not be multiplied by retries (https://sre.google/sre-book/handling-overload/)."""

from __future__ import annotations

from collections import deque

PART = 0.1
WINDOW = 10.0
CELL = 1.0
# Retries within a window that are always allowed: at low traffic a tenth is nothing.
FLOOR = 10


class RetryBudget:
    """At most a tenth of the requests of the last ten seconds are retries, but a few always may be."""

    def __init__(self) -> None:
        self._cells: deque[_Cell] = deque()

    def request(self, now: float) -> None:
        """Counts a first attempt."""
        self._cell(now).requests += 1

    def retry(self, now: float) -> float:
        """Takes a retry from the budget and returns 0; or, if it is spent, the seconds after which to ask again."""
        cell = self._cell(now)
        spent = sum(each.retries for each in self._cells)
        if spent < max(FLOOR, PART * sum(each.requests for each in self._cells)):
            cell.retries += 1
            return 0.0
        return CELL - (now - cell.began)

    def _cell(self, now: float) -> _Cell:
        while self._cells and self._cells[0].began <= now - WINDOW:
            self._cells.popleft()
        if not self._cells or now - self._cells[-1].began >= CELL:
            self._cells.append(_Cell(now))
        return self._cells[-1]


class _Cell:
    __slots__ = ("began", "requests", "retries")

    def __init__(self, began: float) -> None:
        self.began = began
        self.requests = 0
        self.retries = 0
