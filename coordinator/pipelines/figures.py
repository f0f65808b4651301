"""What became of the requests of pipelines, since this coordinator started. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from bus.messages import BatchUse
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

    def told(self, desks: Mapping[str, Desk], uses: Mapping[str, Sequence[BatchUse]], now: float) -> dict[str, Any]:
        """As the API tells them. `uses`: what the workers of each stage have told last."""
        on_time, dropped = self.ended["on_time"], self.ended["dropped"] + self.refused
        return {
            "offered": self.offered,
            "on_time": on_time,
            "late": self.ended["late"],
            "dropped": dropped,
            "dropped_at_the_door": self.refused,
            "failed": self.ended["failed"],
            "goodput": on_time / self.offered if self.offered else None,
            "stages": {name: self._stage(name, desk, uses[name], now) for name, desk in desks.items()},
        }

    def _stage(self, name: str, desk: Desk, uses: Sequence[BatchUse], now: float) -> dict[str, Any]:
        watch = desk.watch
        return {
            "arrived": desk.arrived,
            "served": desk.served,
            "dropped": desk.dropped + self._dropped[name],
            "waiting": len(desk),
            "outstanding": desk.outstanding,
            "workers": watch.workers,
            "batch_size": watch.size,
            "queued_at_workers": sum(use.queued for use in uses),
            "filled": _filled(uses),
            "rate": watch.rate(now),
            "queue_wait": watch.queue_wait(now),
            "hop": watch.hop(now),
            "batch_wait": watch.batch_wait(now),
            "service": watch.service(),
            "wasted_seconds": self._wasted[name],
            "worker_seconds": desk.worker_seconds,
        }


def _filled(uses: Sequence[BatchUse]) -> float | None:
    """Mean requests in a batch of late; None without one."""
    batches = sum(use.batches for use in uses)
    return sum(use.requests for use in uses) / batches if batches else None


def _how(state: TaskState | None, in_time: bool) -> str:
    if state is TaskState.COMPLETED:
        return "on_time" if in_time else "late"
    return "dropped" if state is TaskState.EXPIRED else "failed"
