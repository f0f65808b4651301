"""Bursts that come again: the load that must be planned for, so that few of the late requests would have been lost.

A burst is over before a new worker could help: to follow it is of no use, to expect the next one is.
"""

from __future__ import annotations

from collections import deque

# How far back it looks, in which cells it counts, and how far apart bursts are, in seconds.
MEMORY_SECONDS = 300.0
CELL_SECONDS = 0.5
APART_SECONDS = 15.0


class Bursts:
    """Requests of the last minutes. Times are of one clock, in order but for a cell or so.

    `patience`: seconds that a request can wait within the SLO. `served`: requests a second that are served by the
    workers that are there now; to be kept up to date.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._cells: deque[tuple[float, int, float]] = deque()  # time, count, what was served then
        self.served = 0.0

    def add(self, at: float, count: int) -> None:
        """So many came then."""
        cell = at - at % CELL_SECONDS
        if self._cells and self._cells[-1][0] >= cell:
            last, before, served = self._cells.pop()
            self._cells.append((last, before + count, served))
        elif count:
            self._cells.append((cell, count, self.served))

    def lost(self, now: float, least: float) -> float:
        """The part of them that could not have been served in time, if workers for `least` requests a second had been
        there always. The worst burst is left out: nobody could know of it.

        A leaky bucket: it holds what is served while a request can wait, and what is more runs over.
        """
        while self._cells and self._cells[0][0] < now - MEMORY_SECONDS:
            self._cells.popleft()
        level = total = last = 0.0
        losses = [0.0]
        lost_at = 0.0
        for at, count, served in self._cells:
            capacity = max(served, least)
            room = capacity * (self._patience + CELL_SECONDS)
            level = max(0.0, level - capacity * (at - last)) + count
            total, last = total + count, at
            if level > room:
                losses += [0.0] if at - lost_at > APART_SECONDS else []
                losses[-1] += level - room
                level, lost_at = room, at
        return (sum(losses) - max(losses)) / total if total else 0.0
