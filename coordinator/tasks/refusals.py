"""What the API of tasks refuses, in OpenAI's form. Pure."""

from __future__ import annotations

from coordinator.graph.description import DescriptionRefused
from coordinator.openai import RequestRefused
from coordinator.tasks.summary import UNREACHABLE

_KIND = "invalid_request_error"


def invalid(message: str, param: str | None = None) -> RequestRefused:
    """400: the request is wrong at `param`."""
    return RequestRefused(400, message, _KIND, None, param)


def description_refused(error: DescriptionRefused) -> RequestRefused:
    """400: the description is wrong at its pointer."""
    return invalid(error.message, error.pointer)


def unknown_model(name: str, pointer: str) -> RequestRefused:
    """400: a node's model."""
    message = f"The model '{name[:200]}' does not exist: no worker has served it. GET /v1/models lists those that do."
    return RequestRefused(400, message, _KIND, "model_not_found", pointer)


def no_price(name: str, pointer: str) -> RequestRefused:
    """400: a budget in money needs prices."""
    message = f"The model '{name[:200]}' has no price (AGENTOS_PRICES), so a budget in money cannot be kept."
    return RequestRefused(400, message, _KIND, "model_without_price", pointer)


def key_reused() -> RequestRefused:
    """422: https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header."""
    message = "This Idempotency-Key was used for another request; use a new one."
    return RequestRefused(422, message, _KIND, "idempotency_key_reused")


def epoch_stale(now: str) -> RequestRefused:
    """412: somebody else has changed the task."""
    message = f'The task has changed since: its epoch is "{now}" now. Read it again, and name that in If-Match.'
    return RequestRefused(412, message, _KIND, "epoch_stale", "If-Match")


def task_closed(reason: str) -> RequestRefused:
    """409: the task has ended."""
    return RequestRefused(409, f"{reason}: nothing can be added.", _KIND, "task_closed")


def bad_cursor() -> RequestRefused:
    """400: a place in a stream of events."""
    message = "This is not the id of an event of this task; leave Last-Event-ID out to read from the beginning."
    return RequestRefused(400, message, _KIND, None, "Last-Event-ID")


def not_found(what: str) -> RequestRefused:
    """404."""
    return RequestRefused(404, f"There is no {what}.", _KIND, "not_found")


def model_in_use(reason: str) -> RequestRefused:
    """409: a pipeline's stage."""
    return RequestRefused(409, f"{reason}.", _KIND, "model_in_use", "/stages")


def unreachable_deadline(slo_seconds: float) -> RequestRefused:
    """503: dropped at the door."""
    message = f"With what waits before it, the request cannot be served within {slo_seconds:g} s; it was not taken."
    return RequestRefused(503, message, "server_error", UNREACHABLE, retry_after=1)
