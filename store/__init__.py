"""Postgres: documents, tasks, progress; ledger, inbox, outbox; epochs enforced by the statements themselves."""

from store.records import (
    Answer,
    Epoch,
    Folded,
    FoldOutcome,
    KnownModel,
    OutboxRow,
    Progress,
    Submission,
    Submitted,
    Task,
)
from store.store import Store

__all__ = [
    "Answer",
    "Epoch",
    "FoldOutcome",
    "Folded",
    "KnownModel",
    "OutboxRow",
    "Progress",
    "Store",
    "Submission",
    "Submitted",
    "Task",
]
