"""What an upstream's refusal or failure means: may the request be tried again, when, and what its client is told.

Pure: statuses, error objects, headers, the time and the random numbers come in; a verdict goes out. The table is
that of the OpenAI API: https://platform.openai.com/docs/guides/error-codes.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

# The longest wait that an upstream may impose, in seconds: a wrong header must not park a request for a year.
LONGEST_WAIT = 3600.0

_QUOTA = re.compile(r"insufficient_(quota|balance|credits|funds)|billing|spend")
_OVERLOADED = re.compile(r"slow_down|overloaded")
_SECRET = re.compile(r"\b(?:sk|pk|key|bearer)[-_ ][\w*.-]{8,}", re.IGNORECASE)
_DURATION = re.compile(r"([\d.]+)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class Retry(enum.Enum):
    """Whether a failed call may be made again, here or at another node."""

    NEVER = "never"
    LATER = "later"  # a rate limit: once its time has come
    BACK_OFF = "back off"
    SLOWER = "slower"  # the upstream is overloaded: with longer waits


class Loss(enum.Enum):
    """How a call was lost without an answer of the upstream's own."""

    UNREACHABLE = "unreachable"  # no connection: the request did not leave
    CONNECTION = "connection"  # the connection ended in mid-call
    SILENCE = "silence"  # nothing arrived for too long
    CALL_TIME = "call time"  # the whole call took too long
    HALF_STREAM = "half stream"  # the stream ended before its answer did
    NOT_AN_ANSWER = "not an answer"  # HTML, broken JSON, JSON of another kind


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of the request, and what its client is told if that is final.

    `error` is the inside of an OpenAI error object. `retry_after`: seconds that the upstream asks for.
    `node_unavailable`: this node can serve no request until a person mends it (key, quota, model).
    """

    retry: Retry
    status: int
    error: dict[str, Any]
    retry_after: float | None = None
    node_unavailable: bool = False


# Loss → status, code, message for the client. Only the whole call's limit is final: it would be reached again.
_LOSSES = {
    Loss.UNREACHABLE: (502, "upstream_unreachable", "The upstream of this model could not be reached."),
    Loss.CONNECTION: (502, "upstream_connection_lost", "The connection to the upstream of this model was lost."),
    Loss.SILENCE: (504, "upstream_timeout", "The upstream of this model sent nothing for too long."),
    Loss.CALL_TIME: (504, "upstream_timeout", "The call to the upstream of this model took too long."),
    Loss.HALF_STREAM: (502, "upstream_incomplete", "The upstream of this model ended its stream half way."),
    Loss.NOT_AN_ANSWER: (502, "upstream_bad_response", "The upstream of this model sent no usable answer."),
}


def lost(kind: Loss) -> Verdict:
    """The verdict on a call that ended without an answer."""
    status, code, message = _LOSSES[kind]
    retry = Retry.NEVER if kind is Loss.CALL_TIME else Retry.BACK_OFF
    return Verdict(retry, status, error_object(message, "upstream_error", code))


def refused(
    status: int, error: Mapping[str, Any] | None, headers: Mapping[str, str], *, now: float, secret: str = ""
) -> Verdict:
    """The verdict on an error answer.

    `error`: the inside of the answer's OpenAI error object, None if it has none. `headers`: names in lower case,
    or a mapping that ignores case. `now`: Unix time in seconds. `secret`: the node's key, kept out of the error.
    """
    words = f"{error.get('code')} {error.get('type')}".lower() if error else ""
    if mishap := _of_the_node(status, words, error is not None):
        code, message = mishap
        return Verdict(Retry.NEVER, 502, error_object(message, "upstream_error", code), node_unavailable=True)
    if not 400 <= status < 600:
        return lost(Loss.NOT_AN_ANSWER)
    retry = _again(status, words, headers)
    after = None if retry is Retry.NEVER else wait_asked_for(headers, now=now)
    return Verdict(retry, status, _for_client(status, error, secret), after, node_unavailable=status == 404)


def _of_the_node(status: int, words: str, explained: bool) -> tuple[str, str] | None:
    """Code and message where the fault is this node's, not the client's: its key, its rights, its money."""
    if 400 <= status < 500 and (status == 402 or _QUOTA.search(words)):
        return "upstream_quota_exceeded", "The quota of this model's upstream is used up."
    if status == 401:
        return "upstream_authentication_failed", "The upstream of this model refused the node's credentials."
    if status == 403:
        return "upstream_permission_denied", "The upstream of this model denies the node access."
    if status == 404 and not explained:
        return "upstream_not_found", "The upstream of this model does not know the path."
    return None


def _again(status: int, words: str, headers: Mapping[str, str]) -> Retry:
    asked = headers.get("x-should-retry", "").lower()
    if asked == "false":
        return Retry.NEVER
    if status == 529 or (status in (429, 503) and _OVERLOADED.search(words)):
        return Retry.SLOWER
    if status == 429:
        return Retry.LATER
    if status in (408, 409, 425) or (status >= 500 and status != 501):
        return Retry.BACK_OFF
    # An upstream cannot talk us into repeating what the table calls hopeless.
    hopeless = status in (400, 404, 422)
    return Retry.BACK_OFF if asked == "true" and not hopeless else Retry.NEVER


def _for_client(status: int, error: Mapping[str, Any] | None, secret: str) -> dict[str, Any]:
    if error is None:
        kind = "rate_limit_error" if status == 429 else "upstream_error" if status >= 500 else "invalid_request_error"
        return error_object(f"The upstream of this model answered with status {status}.", kind, None)
    return {key: redact(value, secret) if isinstance(value, str) else value for key, value in error.items()}


def error_object(message: str, kind: str, code: str | None) -> dict[str, Any]:
    """The inside of an OpenAI error object."""
    return {"message": message, "type": kind, "param": None, "code": code}


def redact(text: str, secret: str) -> str:
    """`text` without `secret` and without anything that looks like a key."""
    return _SECRET.sub("[redacted]", text.replace(secret, "[redacted]") if secret else text)


def wait_asked_for(headers: Mapping[str, str], *, now: float) -> float | None:
    """Seconds that the upstream asks to wait, at most `LONGEST_WAIT`; None if it does not say."""
    waits = (
        _number(headers.get("retry-after-ms"), 0.001),
        _number(headers.get("retry-after")),
        _date(headers.get("retry-after"), now),
        _limit_reset(headers),
    )
    asked = next((wait for wait in waits if wait is not None), None)
    return None if asked is None else min(max(asked, 0.0), LONGEST_WAIT)


def _number(text: str | None, unit: float = 1.0) -> float | None:
    try:
        value = float(text or "") * unit
    except ValueError:
        return None
    return value if value == value else None  # a NaN is no time


def _date(text: str | None, now: float) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp() - now if text else None
    except (ValueError, OverflowError):
        return None


def _limit_reset(headers: Mapping[str, str]) -> float | None:
    """The time until the limits that are used up are reset."""
    resets = [
        duration(headers.get(f"x-ratelimit-reset-{what}", ""))
        for what in ("requests", "tokens")
        if headers.get(f"x-ratelimit-remaining-{what}") == "0"
    ]
    return max((reset for reset in resets if reset is not None), default=None)


def duration(text: str) -> float | None:
    """Seconds in a duration as `6m0s` or `120ms`; None if it is none."""
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    values = [_number(number, _SECONDS[unit]) for number, unit in parts]
    return None if None in values else sum(value for value in values if value is not None)


def delay(retry: Retry, attempt: int, retry_after: float | None, uniform: Callable[[float, float], float]) -> float:
    """Seconds to wait before the attempt after `attempt` (1 is the first).

    Full jitter (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/): many requests that
    failed together do not come back together. `uniform`: `random.uniform`, or a test's own.
    """
    if retry_after is not None:
        return retry_after + uniform(0, min(1.0, retry_after / 10))
    first, longest = (0.5, 30.0) if retry is Retry.BACK_OFF else (2.0, 60.0)
    return uniform(0, min(longest, first * 2 ** min(attempt - 1, 16)))
