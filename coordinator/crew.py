"""Which workers there are, as far as they have told lately. Pure."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from bus.messages import WorkerNotice

# Three notices that did not come.
GONE_SECONDS = 16.0


class _Heard(NamedTuple):
    notice: WorkerNotice
    at: float


class Crew:
    """By model. Times are of one clock, in seconds."""

    def __init__(self) -> None:
        self._heard: dict[str, dict[str, _Heard]] = {}

    def hear(self, notice: WorkerNotice, now: float) -> bool:
        """Whether it is one that was not there."""
        workers = self._heard.setdefault(notice.model, {})
        if notice.leaving:
            workers.pop(notice.node, None)
            return False
        new = notice.node not in workers
        workers[notice.node] = _Heard(notice, now)
        return new

    def count(self, model: str, now: float) -> int:
        """How many serve the model."""
        return len(self._there(model, now))

    def notices(self, model: str, now: float) -> list[WorkerNotice]:
        """What those that serve the model have told last."""
        return [each.notice for each in self._there(model, now).values()]

    def have_told(self, model: str, since: float, now: float) -> bool:
        """Whether all that serve the model have told of themselves since then."""
        return all(each.at >= since for each in self._there(model, now).values())

    def models(self) -> Collection[str]:
        """Those that workers were heard of, even if none is there now."""
        return self._heard.keys()

    def _there(self, model: str, now: float) -> dict[str, _Heard]:
        workers = self._heard.get(model, {})
        for node in [node for node, heard in workers.items() if now - heard.at > GONE_SECONDS]:
            del workers[node]
        return workers
