"""A graph on its way in: read, kept, ours. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from coordinator.graph.description import Description, encode, parse
from coordinator.graph.graph import Graph
from store import Accepted, Epoch, NewTask, OwnedTask, TaskRow, TaskState

# Of every task when it is submitted.
FIRST = Epoch(0, 0)


@dataclass(frozen=True, slots=True)
class Submission:
    """What a body asks for. `text`: the description as the store keeps it. `fingerprint`: of the body."""

    description: Description
    graph: Graph
    text: str
    fingerprint: str

    def new_task(self, key: str | None, owner: str | None, region: str, now: float) -> NewTask:
        """What the store is given. `now`: Unix seconds."""
        seconds = self.description.deadline_seconds
        return NewTask(
            user=self.description.user,
            description=self.text,
            fingerprint=self.fingerprint,
            region=region,
            priority=self.description.priority,
            deadline=None if seconds is None else now + seconds,
            idempotency_key=key,
            owner=owner,
        )


def read_submission(body: bytes, max_nodes: int) -> Submission:
    """Raises `DescriptionRefused`."""
    return submission_of(parse(body, max_nodes=max_nodes), body)


def submission_of(description: Description, body: bytes) -> Submission:
    """What `body`, which asks for this, is to be."""
    return Submission(description, Graph(description), encode(description), hashlib.sha256(body).hexdigest())


def fresh_row(new: NewTask, accepted: Accepted) -> TaskRow:
    """The task as the store has it now."""
    return TaskRow(
        task_id=accepted.task_id,
        user=new.user,
        state=TaskState.OPEN,
        running=False,
        epoch=FIRST,
        owner=new.owner,
        description=new.description,
        priority=new.priority,
        deadline=new.deadline,
        created_at=accepted.created_at,
        finished_at=None,
        summary=None,
    )


def owned_task(new: NewTask, accepted: Accepted) -> OwnedTask:
    """The task as its owner knows it."""
    return OwnedTask(
        task_id=accepted.task_id,
        user_id=accepted.user_id,
        weight=accepted.weight,
        epoch=FIRST,
        description=new.description,
        priority=new.priority,
        deadline=new.deadline,
        created_at=accepted.created_at,
    )
