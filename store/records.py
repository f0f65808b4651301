"""What goes into the store and comes out of it. Frozen, and without I/O.

Made for every request and result: as msgspec structures, whose making costs a ninth of a frozen dataclass's.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import NamedTuple

import msgspec


class Epoch(msgspec.Struct, frozen=True, order=True):
    """Who owned a task when something was written: region first, then agent proxy. The larger pair is newer."""

    global_epoch: int
    regional_epoch: int


class Task(NamedTuple):
    """What `get_task` gives."""

    user_id: int
    task_type: str
    task_description: str


class Progress(NamedTuple):
    """The result of a node, and the epoch under which it was written. `result` is JSON text."""

    task_id: int
    node_id: str
    global_epoch: int
    regional_epoch: int
    result: str


class Submission(msgspec.Struct, frozen=True):
    """A task of one node, its request (`body`, kept as a document) and the message that must leave for it.

    `owner` publishes the message itself, and has `lease_seconds` for it before others may.
    """

    user_id: int
    task_type: str
    description: str
    node_id: str
    topic: str
    subscription: str
    envelope: str
    body: str
    owner: str
    lease_seconds: float
    epoch: Epoch


class Submitted(msgspec.Struct, frozen=True):
    """The keys of a submission."""

    task_id: int
    doc_id: int
    outbox_id: int


class OutboxRow(msgspec.Struct, frozen=True):
    """A message that has been committed and, as far as the store knows, not published.

    `created_at`: when it was committed, Unix seconds: by the store's clock, or where it was made, a moment before.
    """

    outbox_id: int
    task_id: int
    node_id: str
    epoch: Epoch
    topic: str
    subscription: str
    envelope: str
    body: str
    created_at: float


class Folded(msgspec.Struct, frozen=True, kw_only=True):
    """One result event: what became of one attempt, named by `event_id`.

    `final`: the attempt settles its node; a retried one goes to the ledger only. `reached_provider`: it may have
    cost money, so the ledger records it. `result` is the text of a JSON object; where there is a `response`, that
    is kept as a document and its number added to `result` as "document". Times are Unix seconds.
    """

    event_id: str
    request_id: str
    final: bool
    reached_provider: bool
    task_id: int | None
    node_id: str | None
    epoch: Epoch
    result: str
    response: str | None
    model: str
    node: str
    node_type: str
    outcome: str
    status: int
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    cached_tokens: int
    reasoning_tokens: int
    estimated: bool
    ai_model_name: str | None
    ai_model_namespace: str | None
    started_at: float | None
    finished_at: float | None


class FoldOutcome(Enum):
    """What a fold did with an event."""

    FOLDED = "folded"  # its result is the node's
    DUPLICATE = "duplicate"  # the event was folded before: nothing was written
    LATE = "late"  # the node has a result of this epoch from another attempt: ledger only
    STALE = "stale"  # the node has a result of a newer epoch: ledger only
    UNKNOWN_TASK = "unknown task"  # no such task, or no longer: ledger only
    LEDGER_ONLY = "ledger only"  # settles no node: retried, or not a task's


class Fate(msgspec.Struct, frozen=True):
    """What a fold did with an event. `graph`: its task is a graph, so its owner wants to know; false where the event
    was folded before. `document`: the response's number, where the result was kept and has one.
    """

    outcome: FoldOutcome
    graph: bool = False
    document: int | None = None


class Answer(msgspec.Struct, frozen=True):
    """A node's result (JSON text), and the response body if it has one."""

    result: str
    response: str | None


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A model that some worker has served."""

    name: str
    node_type: str
    first_seen: datetime
    last_seen: datetime


@dataclass(frozen=True, slots=True)
class PipelineRow:
    """A pipeline as it was put. `updated_at`: Unix seconds."""

    name: str
    description: str
    updated_at: float
