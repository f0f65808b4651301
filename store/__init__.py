"""Postgres: documents, tasks, progress; ledger, inbox, outbox; graphs and their owners; epochs, which the statements
themselves enforce.
"""

from store.graph_records import (
    Accepted,
    Dispatch,
    EventRow,
    Finish,
    InFlight,
    NewTask,
    NodeRow,
    OwnedTask,
    Peer,
    TaskRow,
    TaskState,
    UserRow,
)
from store.records import (
    Answer,
    Epoch,
    Fate,
    Folded,
    FoldOutcome,
    KnownModel,
    OutboxRow,
    PipelineRow,
    Progress,
    Submission,
    Submitted,
    Task,
)
from store.store import Store

__all__ = [
    "Accepted",
    "Answer",
    "Dispatch",
    "Epoch",
    "EventRow",
    "Fate",
    "Finish",
    "FoldOutcome",
    "Folded",
    "InFlight",
    "KnownModel",
    "NewTask",
    "NodeRow",
    "OutboxRow",
    "OwnedTask",
    "Peer",
    "PipelineRow",
    "Progress",
    "Store",
    "Submission",
    "Submitted",
    "Task",
    "TaskRow",
    "TaskState",
    "UserRow",
]
