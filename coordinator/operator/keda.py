"""KEDA scales an AIModel by the backlog of its topic. Pure.

https://keda.sh/docs/latest/scalers/pulsar/, https://keda.sh/docs/latest/reference/scaledobject-spec/
"""

from __future__ import annotations

from typing import Any

from coordinator.operator.aimodel import AIModel
from coordinator.operator.site import Site

GROUP = "keda.sh"


def scaled_object(model: AIModel, site: Site) -> dict[str, Any]:
    """Where it has a `backlog_threshold`."""
    raise NotImplementedError
