"""How many replicas an AIModel is to have: up at once, down slowly, to zero after a silence. Pure."""

from __future__ import annotations

import msgspec


class Scaling(msgspec.Struct, frozen=True, kw_only=True):
    """What a person wants. `target`: requests, waiting and running, that one replica is to have. `down_seconds`: fewer
    only when so long no more were needed; `idle_seconds`: to zero only after so long without any work.
    """

    target: int
    min: int = 0
    max: int = 10
    down_seconds: float = 60.0
    idle_seconds: float = 300.0
