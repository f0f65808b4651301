"""What belongs to an AIModel: the objects that its operator applies. Pure."""

from __future__ import annotations

from typing import Any

from coordinator.operator.aimodel import AIModel
from coordinator.operator.site import Site

Object = dict[str, Any]


def children(model: AIModel, site: Site, replicas: int | None) -> list[Object]:
    """In the order of application, for server-side apply. `replicas`: None where another drives them."""
    raise NotImplementedError
