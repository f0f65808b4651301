"""What the status of an AIModel says. Pure: the same is said of the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from coordinator.operator.aimodel import AIModel
from coordinator.operator.failures import Failure
from coordinator.operator.podtrouble import Trouble
from coordinator.operator.who import Scaler

Status = dict[str, Any]


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an AIModel. `scaler`: who decides on `replicas`, which are wanted now; None: of KEDA's, as the
    Deployment says. `why`: the last decision of the built-in scaler. `backlog`: requests that wait; None: not known.
    `refused`: what the operator could not do, for a person.
    """

    scaler: Scaler
    deployment: Mapping[str, Any] | None = None
    replicas: int | None = None
    why: str = ""
    backlog: int | None = None
    failure: Failure | None = None
    trouble: Trouble | None = None
    refused: str = ""


def status_of(model: AIModel, seen: Seen, before: Mapping[str, Any], now: float) -> Status:
    """The whole status. `before`: the one that is there, maybe empty; `now`: Unix time in seconds."""
    raise NotImplementedError


def wrong_status(body: Mapping[str, Any], text: str, now: float) -> Status:
    """Of an AIModel that cannot be read (`WrongAIModel`): the rest of its status stays."""
    raise NotImplementedError


def patch_of(before: Mapping[str, Any], status: Status) -> dict[str, Any] | None:
    """The JSON merge patch of the status (RFC 7396) that makes `status` of `before`; None: nothing has changed."""
    raise NotImplementedError


def settled(deployment: Mapping[str, Any] | None, replicas: int) -> bool:
    """Whether the Deployment has so many replicas, all ready and none of an older template."""
    raise NotImplementedError
