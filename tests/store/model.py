"""The rules of the store on plain dictionaries: what Postgres is compared with. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from core.errors import NotFound, StaleEpoch
from store import Epoch, Folded, FoldOutcome

Node = tuple[int, str]


@dataclass
class Result:
    """A row of progress."""

    epoch: Epoch
    result: str
    response: str | None = None
    event_id: str | None = None


@dataclass
class Model:
    """Tasks (epoch and description), results, and the events that were folded."""

    tasks: dict[int, tuple[Epoch, str]] = field(default_factory=dict)
    results: dict[Node, Result] = field(default_factory=dict)
    inbox: set[str] = field(default_factory=set)
    ledger: set[str] = field(default_factory=set)

    def update_description(self, task_id: int, epoch: Epoch, description: str) -> None:
        if task_id not in self.tasks:
            raise NotFound
        if (epoch, description) == self.tasks[task_id]:
            return
        if epoch <= self.tasks[task_id][0]:
            raise StaleEpoch
        self.tasks[task_id] = (epoch, description)

    def save_progress(self, node: Node, epoch: Epoch, result: str) -> None:
        if node[0] not in self.tasks:
            raise NotFound
        standing = self.results.get(node)
        if standing and (standing.epoch, standing.result) == (epoch, result):
            return
        if standing and epoch <= standing.epoch:
            raise StaleEpoch
        self.results[node] = Result(epoch, result)

    def delete_task(self, task_id: int) -> None:
        self.tasks.pop(task_id, None)
        self.results = {node: result for node, result in self.results.items() if node[0] != task_id}

    def fold(self, batch: Sequence[Folded]) -> list[FoldOutcome]:
        """In the order of the batch, except that newer epochs go first; an event counts where it stands first."""
        outcomes = [FoldOutcome.DUPLICATE] * len(batch)
        first = {event.event_id: place for place, event in reversed(list(enumerate(batch)))}
        fresh = [place for event_id, place in first.items() if event_id not in self.inbox]
        newest = sorted(sorted(fresh), key=lambda place: batch[place].epoch, reverse=True)
        for place in newest:
            outcomes[place] = self._fold(batch[place])
        return outcomes

    def _fold(self, event: Folded) -> FoldOutcome:
        self.inbox.add(event.event_id)
        if event.reached_provider:
            self.ledger.add(event.event_id)
        if not event.final or event.task_id is None or event.node_id is None:
            return FoldOutcome.LEDGER_ONLY
        if event.task_id not in self.tasks:
            return FoldOutcome.UNKNOWN_TASK
        standing = self.results.get((event.task_id, event.node_id))
        if standing and event.epoch < standing.epoch:
            return FoldOutcome.STALE
        if standing and event.epoch == standing.epoch:
            return FoldOutcome.LATE
        kept = Result(event.epoch, event.result, event.response, event.event_id)
        self.results[event.task_id, event.node_id] = kept
        return FoldOutcome.FOLDED
