"""Metrics of the operator; the scaler has its own (`scaling_metrics`)."""

from __future__ import annotations

from collections import Counter as Counted
from collections.abc import Iterable

from prometheus_client import Counter, Gauge, Histogram

CALLS = Counter("agentos_operator_api_calls", "Requests to the API server, by what it answered.", ["verb", "status"])
LEADS = Gauge("agentos_operator_leads", "1 in the operator that leads.")
MODELS = Gauge("agentos_operator_aimodels", "AIModels by their state.", ["state"])
RECONCILED = Counter("agentos_operator_reconciled", "Looks at an AIModel, by how they ended.", ["outcome"])
SECONDS = Histogram(
    "agentos_operator_reconcile_seconds",
    "How long a look at an AIModel took.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
QUEUED = Gauge("agentos_operator_queue", "AIModels that are due to be looked at, or are being looked at.")
FAILING = Gauge("agentos_operator_failing", "AIModels whose last look has failed; they come again.")
APPLIED = Counter("agentos_operator_applied", "Objects that were applied, by kind.", ["kind"])
SYNCED = Gauge("agentos_operator_synced_timestamp_seconds", "When everything was listed last.")
MISSED = Counter("agentos_operator_missed_changes", "Changes that only a list has shown, by kind.", ["kind"])
WATCHES_ENDED = Counter("agentos_operator_watches_ended", "Times that the watches were begun anew.")

_STATES = ("Pending", "Running", "Idle", "Failed")


def show_states(states: Iterable[str]) -> None:
    """Those of all AIModels. One that has none yet is not counted."""
    counts = Counted(states)
    for state in _STATES:
        MODELS.labels(state).set(counts[state])
