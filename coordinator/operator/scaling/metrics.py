"""Metrics of the built-in scaler. Labels are AIModels that there are."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

from coordinator.operator.wanted.aimodel import Key
from policy.scaling import Decision

_AIMODEL = ["namespace", "aimodel"]
LOOKS = Counter("agentos_operator_looks", "Looks at the backlog of a model, by how they ended.", ["outcome"])
CONNECTED = Gauge("agentos_operator_bus_connected", "1 while the scaler is connected to the broker.")
_WANTED = Gauge("agentos_operator_replicas_wanted", "Replicas that the scaler wants.", _AIMODEL)
_NEED = Gauge("agentos_operator_replicas_needed", "Replicas that the work of this moment asks for.", _AIMODEL)
_BACKLOG = Gauge("agentos_operator_backlog", "Requests for the model that nobody has begun.", _AIMODEL)
_CHANGES = Counter("agentos_operator_scalings", "Changes of the replicas that are wanted.", [*_AIMODEL, "direction"])


def show(key: Key, decision: Decision) -> None:
    """What was decided."""
    _WANTED.labels(*key).set(decision.replicas)
    _NEED.labels(*key).set(decision.need)


def changed(key: Key, before: int, after: int) -> None:
    """Another number is wanted."""
    _CHANGES.labels(*key, "up" if after > before else "down").inc()


def show_backlog(key: Key, count: int | None) -> None:
    """So many wait; None: that is not known."""
    if count is None:
        _BACKLOG.remove_by_labels(_named(key))
    else:
        _BACKLOG.labels(*key).set(count)


def forget(key: Key) -> None:
    """There is no such AIModel any more, or it is scaled by others."""
    for metric in (_WANTED, _NEED, _CHANGES):
        metric.remove_by_labels(_named(key))


def _named(key: Key) -> dict[str, str]:
    return dict(zip(_AIMODEL, key, strict=True))
