"""What Events say of an AIModel's workers: that they fail, and that it is over. Pure.

Events come in any order (a list is in none), more than once, and from the time before the AIModel was changed, so what
is remembered is the newest of them: `News`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from coordinator.operator.aimodel import AIModel

# All replicas are ready: a failure that was told before that is over after such a silence.
QUIET_SECONDS = 15.0


class Failure(NamedTuple):
    """`reason`: one of the contract's five. `at`: Unix time in seconds. `generation`: of the AIModel, when it failed."""

    reason: str
    message: str
    at: float
    generation: int


class News(NamedTuple):
    """The newest that was told. `at`: Unix time in seconds; `version`: orders what was told in one second.

    `failure`: None if that was a recovery, or the failure is over.
    """

    at: float = 0.0
    version: int = 0
    failure: Failure | None = None


def heard(news: News, event: Mapping[str, Any], generation: int) -> News:
    """After a core/v1 Event, whatever it is about. `generation`: of the AIModel now."""
    raise NotImplementedError


def from_status(body: Mapping[str, Any]) -> News:
    """What the operator before this one has known, by the AIModel's status: older Events tell nothing new."""
    raise NotImplementedError


def over(failure: Failure, model: AIModel, deployment: Mapping[str, Any] | None, now: float) -> bool:
    """Whether it no longer holds: forget it then (`news._replace(failure=None)`). `now`: Unix time in seconds."""
    raise NotImplementedError


def about(event: Mapping[str, Any]) -> tuple[str, str] | None:
    """The key of the AIModel that a worker's Event is about; None: it is about something else."""
    raise NotImplementedError
