"""What requests to the API of tasks hold besides their bodies' JSON: read here, once, or refused."""

from __future__ import annotations

from starlette.requests import Request

from coordinator.body import read_body
from coordinator.tasks.refusals import invalid, not_found
from store import TaskState

LONGEST_KEY = 255


async def body_of(request: Request, limit: int) -> bytes:
    """The body. Raises `RequestRefused`, see `read_body`."""
    return await read_body(request.scope, request.receive, limit)


def number_of(text: str, prefix: str) -> int:
    """The number in `task_12`. Raises `RequestRefused` 404: what has no such name does not exist."""
    digits = text.removeprefix(prefix)
    if digits == text or not (digits.isascii() and digits.isdecimal()) or len(digits) > 18:
        raise not_found(f"{prefix.rstrip('_')} {text[:100]!r}")
    return int(digits)


def key_of(request: Request) -> str | None:
    """The Idempotency-Key. Raises `RequestRefused` 400."""
    key = request.headers.get("idempotency-key")
    if key is not None and not 0 < len(key) <= LONGEST_KEY:
        raise invalid(f"The Idempotency-Key must have 1 to {LONGEST_KEY} characters.", "Idempotency-Key")
    return key


def count_of(request: Request, name: str, default: int, most: int) -> int:
    """A number from 1 to `most` in the query. Raises `RequestRefused` 400."""
    text = request.query_params.get(name, str(default))
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:9]) <= most):
        raise invalid(f"'{name}' must be a number from 1 to {most}.", name)
    return int(text)


def state_of(request: Request) -> TaskState | None:
    """The state in the query. Raises `RequestRefused` 400."""
    text = request.query_params.get("status")
    if text is None:
        return None
    if text in ("queued", "running"):
        return TaskState.OPEN
    try:
        return TaskState(text)
    except ValueError:
        known = ", ".join(("queued", "running", *(state for state in TaskState if state is not TaskState.OPEN)))
        raise invalid(f"'status' must be one of {known}.", "status") from None
