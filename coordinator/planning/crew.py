"""Which workers there are, as far as they have told lately. Pure."""

from __future__ import annotations

from bus.messages import WorkerNotice

# Three notices that did not come.
GONE_SECONDS = 16.0


class Crew:
    """By model. Times are of one clock, in seconds."""

    def __init__(self) -> None:
        self._heard: dict[str, dict[str, float]] = {}

    def hear(self, notice: WorkerNotice, now: float) -> bool:
        """Whether it is one that was not there."""
        workers = self._heard.setdefault(notice.model, {})
        if notice.leaving:
            workers.pop(notice.node, None)
            return False
        new = notice.node not in workers
        workers[notice.node] = now
        return new

    def count(self, model: str, now: float) -> int:
        """How many serve the model."""
        workers = self._heard.get(model, {})
        for node in [node for node, heard_at in workers.items() if now - heard_at > GONE_SECONDS]:
            del workers[node]
        return len(workers)
