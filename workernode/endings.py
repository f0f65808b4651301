"""How attempts end, as their billing events tell it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from bus.messages import NO_USAGE, Outcome
from workernode.backends.base import Answer, Call
from workernode.classify import error_object
from workernode.errors import CallFailed
from workernode.results import Ended

CANCELLED = error_object("The request was cancelled.", "invalid_request_error", "request_cancelled")


@dataclass(slots=True)
class Times:
    """When a call was admitted and begun, and when the backend had answered: Unix times in seconds; None before."""

    admitted_at: float | None = None
    started_at: float | None = None
    answered_at: float | None = None


def never_called(outcome: Outcome, status: int = 200, error: dict[str, Any] | None = None) -> Ended:
    """The provider has not heard of it."""
    now = time.time()
    return Ended(outcome, False, None, now, status=status, error=error, replied_at=now)


def given_back(outcome: Outcome, call: Call, times: Times) -> Ended:
    """Nobody was told. If a call was made it may have cost money all the same."""
    used = call.progress.usage()
    return Ended(
        outcome,
        times.started_at is not None and call.progress.connected_at is not None,
        times.started_at,
        time.time(),
        usage=used or NO_USAGE,
        estimated=used is not None,
        admitted_at=times.admitted_at,
        progress=call.progress,
    )


def cancelled(call: Call, times: Times) -> Ended:
    """Whoever asked wants no answer any more."""
    return Ended(
        "cancelled",
        times.started_at is not None,
        times.started_at,
        time.time(),
        499,
        call.progress.usage() or NO_USAGE,
        estimated=True,
        error=CANCELLED,
        admitted_at=times.admitted_at,
        progress=call.progress,
    )


def completed(answer: Answer, call: Call, times: Times) -> Ended:
    """The client has its answer."""
    now = time.time()
    return Ended(
        "completed",
        True,
        times.started_at,
        now,
        usage=answer.usage,
        estimated=answer.estimated,
        first_token_at=answer.first_token_at,
        response=answer.response,
        admitted_at=times.admitted_at,
        answered_at=times.answered_at,
        replied_at=now,
        progress=call.progress,
    )


def failed(failure: CallFailed, call: Call, times: Times, *, again: bool) -> Ended:
    """Told to the client, or to be tried `again`."""
    error, now = failure.error, time.time()
    return Ended(
        "retried" if again else "failed",
        failure.reached_provider,
        times.started_at,
        now,
        status=failure.status,
        # The upstream's words are the client's: they may quote the prompt.
        error={key: error.get(key) for key in ("type", "code")} if again else error,
        usage=failure.usage or NO_USAGE,
        estimated=failure.usage is not None,
        admitted_at=times.admitted_at,
        answered_at=times.answered_at,
        replied_at=None if again else now,
        progress=call.progress,
    )
