"""What a gateway tells of a pipeline: since its start, and now. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from core.errors import BadMessage


class StageFigures(msgspec.Struct, frozen=True):
    """`arrived`, `served`, `dropped` count from the gateway's start, as do the seconds that workers were there, and
    those that they spent on requests that missed. `waiting` before the stage, `outstanding` in its topic and at its
    workers: now. `rate` a second; `queue_wait`, `batch_wait`, `service`: seconds.
    """

    arrived: int = 0
    served: int = 0
    dropped: int = 0
    waiting: int = 0
    outstanding: int = 0
    workers: int = 0
    batch_size: int = 0
    rate: float | None = None
    queue_wait: float | None = None
    batch_wait: float | None = None
    service: float | None = None
    wasted_seconds: float = 0.0
    worker_seconds: float = 0.0


class _Figures(msgspec.Struct, frozen=True):
    stages: dict[str, StageFigures] = {}


def figures_of(pipeline: dict[str, Any]) -> Mapping[str, StageFigures]:
    """Those of a pipeline object, by stage. Raises `BadMessage` where it is none."""
    try:
        return msgspec.convert(pipeline.get("figures") or {}, _Figures, strict=False).stages
    except msgspec.ValidationError as error:
        raise BadMessage(f"not a pipeline's figures: {error}") from None
