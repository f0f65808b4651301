"""What became of the requests of pipelines, since this coordinator started. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

from coordinator.graph.graph import Graph
from coordinator.graph.specs import PipelineRequest
from coordinator.pipelines.desk import Desk
from coordinator.tasks.summary import UNREACHABLE
from store import TaskState


class Figures:
    """Of one pipeline. `offered`: requests that came to the door; `refused`: there; `ended`: by `on_time`, `late`
    (completed after the SLO), `dropped`, `failed`.
    """

    def __init__(self) -> None:
        self.offered = 0
        self.refused = 0
        self.ended: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()
        self._wasted: defaultdict[str, float] = defaultdict(float)

    def end(self, request: PipelineRequest, graph: Graph, seconds: float) -> str:
        """How a request has ended, `seconds` after it came. What was spent on one that missed its SLO is wasted."""
        how = _how(graph.state, seconds <= request.slo_seconds)
        self.ended[how] += 1
        if how != "on_time":
            for node in graph.nodes():
                self._wasted[node.id] += node.seconds or 0.0
                self._dropped[node.id] += node.error is not None and node.error.get("code") == UNREACHABLE
        return how

    def told(self, desks: dict[str, Desk], now: float) -> dict[str, Any]:
        """As the API tells them."""
        on_time, dropped = self.ended["on_time"], self.ended["dropped"] + self.refused
        return {
            "offered": self.offered,
            "on_time": on_time,
            "late": self.ended["late"],
            "dropped": dropped,
            "dropped_at_the_door": self.refused,
            "failed": self.ended["failed"],
            "goodput": on_time / self.offered if self.offered else None,
            "stages": {name: self._stage(name, desk, now) for name, desk in desks.items()},
        }

    def _stage(self, name: str, desk: Desk, now: float) -> dict[str, Any]:
        watch = desk.watch
        return {
            "arrived": desk.arrived,
            "served": desk.served,
            "dropped": desk.dropped + self._dropped[name],
            "waiting": len(desk),
            "outstanding": desk.outstanding,
            "workers": watch.workers,
            "batch_size": watch.size,
            "rate": watch.rate(now),
            "queue_wait": watch.queue_wait(now),
            "hop": watch.hop(now),
            "batch_wait": watch.batch_wait(now),
            "service": watch.service(),
            "wasted_seconds": self._wasted[name],
            "worker_seconds": desk.worker_seconds,
        }


def _how(state: TaskState | None, in_time: bool) -> str:
    if state is TaskState.COMPLETED:
        return "on_time" if in_time else "late"
    return "dropped" if state is TaskState.EXPIRED else "failed"
