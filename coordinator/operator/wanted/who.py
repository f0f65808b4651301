"""Who decides how many replicas an AIModel has: exactly one. Pure."""

from __future__ import annotations

from typing import Literal

from coordinator.operator.wanted.aimodel import AIModel
from policy.scaling import Scaling

# `spec`: the AIModel's `replicas`; `backlog`: the built-in scaler; `keda`: KEDA.
Scaler = Literal["spec", "backlog", "keda"]


def scaler_of(model: AIModel, keda: bool) -> Scaler:
    """Who scales it. `keda`: whether the cluster has it."""
    if model.scaling is not None:
        return "backlog"
    if model.backlog_threshold is None:
        return "spec"
    return "keda" if keda else "backlog"


def scaling_of(model: AIModel) -> Scaling | None:
    """How the built-in scaler drives it, where it does (see `scaler_of`); None: `spec.replicas` is what counts."""
    if model.scaling is not None or model.backlog_threshold is None:
        return model.scaling
    return Scaling(target=model.backlog_threshold)
