"""What an upstream's refusal or failure means: may the request be tried again, when, and what its client is told.

Pure: statuses, error objects, headers, the time and the random numbers come in; a verdict goes out. The table is
that of the OpenAI API: https://platform.openai.com/docs/guides/error-codes. docs/errors.md prints it.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from workernode.limits.availability import Fault
from workernode.limits.headers import wait_asked_for

_QUOTA = re.compile(r"insufficient_(quota|balance|credits|funds)|billing|spend")
_OVERLOADED = re.compile(r"slow_down|overloaded")
# More tokens than the limit has in a minute: it would be refused again and again, and pause the node each time.
# llama.cpp calls a text to embed that is beyond its context a fault of its own.
_TOO_LARGE = re.compile(r"request too large|too large to process", re.IGNORECASE)
_SECRET = re.compile(r"\b(?:sk|pk|key|bearer)[-_ ][\w*.-]{8,}", re.IGNORECASE)


class Retry(enum.Enum):
    """Whether a failed call may be made again, here or at another node."""

    NEVER = "never"
    LATER = "later"  # a rate limit: once its time has come
    BACK_OFF = "back off"
    SLOWER = "slower"  # the upstream is overloaded: with longer waits
    ELSEWHERE = "elsewhere"  # this node cannot, another one may


class Upstream(enum.Enum):
    """What a call says about its upstream (see `limits.availability`)."""

    ANSWERED = "answered"  # it works; the fault is the request's
    FAILED = "failed"  # so many of these in a row are an outage
    FAULT = "fault"  # a person must mend it
    NOTHING = "nothing"


class Loss(enum.Enum):
    """How a call was lost without an answer of the upstream's own."""

    UNREACHABLE = "unreachable"  # no connection: the request did not leave
    CONNECTION = "connection"  # the connection ended in mid-call
    SILENCE = "silence"  # nothing arrived for too long
    CALL_TIME = "call time"  # the whole call took too long
    HALF_STREAM = "half stream"  # the stream ended before its answer did
    NOT_AN_ANSWER = "not an answer"  # HTML, broken JSON, JSON of another kind


class Refusal(enum.Enum):
    """The classes of error answers, each with the statuses and codes that belong to it."""

    REQUEST = (
        '400, 404, 413, 422 and others of 4xx: the request\'s own fault; 429 "Request too large"; '
        '500 "too large to process"; 501'
    )
    QUOTA = "402; 4xx with insufficient_quota or the like, billing, spend"
    KEY = "401"
    RIGHTS = "403"
    MODEL = "404 model_not_found"
    PATH = "404 without an error object"
    RATE = "429"
    SLOW_DOWN = "429 slow_down, overloaded"
    OVERLOADED = "503 slow_down, overloaded; 529"
    BUSY = "408, 409, 425; others of 4xx with `x-should-retry: true`"
    BROKEN = "500, 502, 503, 504 and others of 5xx"
    FINAL = "any of the five above with `x-should-retry: false`"


class Told(NamedTuple):
    """What the client is told in place of the upstream's own error, because it is not the client's business."""

    status: int
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the table. `counted`: against the request's attempts. `told`: None passes on the upstream's own."""

    retry: Retry
    upstream: Upstream
    told: Told | None = None
    counted: bool = True
    fault: Fault | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of the request, and what its client is told if that is final.

    `error` is the inside of an OpenAI error object. `retry_after`: seconds that the upstream asks for. `counted`:
    whether the call counts against the request's attempts; if not, its deadline alone bounds it. `fault`: why this
    node can serve no request until a person mends it (key, quota, model).
    """

    retry: Retry
    status: int
    error: dict[str, Any]
    retry_after: float | None = None
    counted: bool = True
    upstream: Upstream = Upstream.NOTHING
    fault: Fault | None = None

    @property
    def node_unavailable(self) -> bool:
        """Whether the fault is this node's."""
        return self.fault is not None


REFUSALS: dict[Refusal, Rule] = {
    Refusal.REQUEST: Rule(Retry.NEVER, Upstream.ANSWERED),
    Refusal.QUOTA: Rule(
        Retry.ELSEWHERE,
        Upstream.FAULT,
        Told(502, "upstream_quota_exceeded", "The quota of this model's upstream is used up."),
        fault=Fault(
            "APIQuotaExceededError", "The quota or the balance of API_KEY is used up: raise it, or set another key."
        ),
    ),
    Refusal.KEY: Rule(
        Retry.ELSEWHERE,
        Upstream.FAULT,
        Told(502, "upstream_authentication_failed", "The upstream of this model refused the node's credentials."),
        fault=Fault("AuthenticationError", "The upstream refuses API_KEY: set one that is valid."),
    ),
    Refusal.RIGHTS: Rule(
        Retry.ELSEWHERE,
        Upstream.FAULT,
        Told(502, "upstream_permission_denied", "The upstream of this model denies the node access."),
        fault=Fault("AuthenticationError", "The upstream denies API_KEY the use of this model.", sure=False),
    ),
    Refusal.MODEL: Rule(
        Retry.ELSEWHERE,
        Upstream.FAULT,
        fault=Fault("ConfigurationError", "The upstream does not know the model: check MODEL_NAME.", sure=False),
    ),
    Refusal.PATH: Rule(
        Retry.ELSEWHERE,
        Upstream.FAULT,
        Told(502, "upstream_not_found", "The upstream of this model does not know the path."),
        fault=Fault("ConfigurationError", "The upstream does not know the path: check API_URL.", sure=False),
    ),
    Refusal.RATE: Rule(Retry.LATER, Upstream.NOTHING, counted=False),
    Refusal.SLOW_DOWN: Rule(Retry.SLOWER, Upstream.NOTHING, counted=False),
    Refusal.OVERLOADED: Rule(Retry.SLOWER, Upstream.NOTHING),
    Refusal.BUSY: Rule(Retry.BACK_OFF, Upstream.ANSWERED),
    Refusal.BROKEN: Rule(Retry.BACK_OFF, Upstream.FAILED),
    Refusal.FINAL: Rule(Retry.NEVER, Upstream.NOTHING),
}


def _fails(status: int, code: str, message: str) -> Rule:
    return Rule(Retry.BACK_OFF, Upstream.FAILED, Told(status, code, message))


LOSSES: dict[Loss, Rule] = {
    Loss.UNREACHABLE: _fails(502, "upstream_unreachable", "The upstream of this model could not be reached."),
    Loss.CONNECTION: _fails(
        502, "upstream_connection_lost", "The connection to the upstream of this model was lost."
    ),
    Loss.SILENCE: _fails(504, "upstream_timeout", "The upstream of this model sent nothing for too long."),
    # Final: the whole call's limit would be reached again.
    Loss.CALL_TIME: Rule(
        Retry.NEVER,
        Upstream.NOTHING,
        Told(504, "upstream_timeout", "The call to the upstream of this model took too long."),
    ),
    Loss.HALF_STREAM: _fails(502, "upstream_incomplete", "The upstream of this model ended its stream half way."),
    Loss.NOT_AN_ANSWER: _fails(502, "upstream_bad_response", "The upstream of this model sent no usable answer."),
}


def lost(kind: Loss) -> Verdict:
    """The verdict on a call that ended without an answer."""
    rule = LOSSES[kind]
    assert rule.told is not None
    return Verdict(rule.retry, rule.told.status, _told(rule.told), upstream=rule.upstream)


def refused(
    status: int, error: Mapping[str, Any] | None, headers: Mapping[str, str], *, now: float, secret: str = ""
) -> Verdict:
    """The verdict on an error answer.

    `error`: the inside of the answer's OpenAI error object, None if it has none. `headers`: names in lower case,
    or a mapping that ignores case. `now`: Unix time in seconds. `secret`: the node's key, kept out of the error.
    """
    if not 400 <= status < 600:
        return lost(Loss.NOT_AN_ANSWER)
    words = f"{error.get('code')} {error.get('type')}".lower() if error else ""
    kind = _of_the_node(status, words, error is not None) or _of_the_call(status, words, headers)
    if kind in (Refusal.RATE, Refusal.BROKEN) and error and _TOO_LARGE.search(str(error.get("message"))):
        kind = Refusal.REQUEST
    rule = REFUSALS[kind]
    return Verdict(
        rule.retry,
        rule.told.status if rule.told else status,
        _told(rule.told) if rule.told else _for_client(status, error, secret),
        None if rule.retry in (Retry.NEVER, Retry.ELSEWHERE) else wait_asked_for(headers, now=now),
        rule.counted,
        rule.upstream,
        rule.fault,
    )


def _of_the_node(status: int, words: str, explained: bool) -> Refusal | None:
    """The class where the fault is this node's, not the client's: its key, its rights, its money, its model."""
    if 400 <= status < 500 and (status == 402 or _QUOTA.search(words)):
        return Refusal.QUOTA
    if status in (401, 403):
        return Refusal.KEY if status == 401 else Refusal.RIGHTS
    if status == 404 and not explained:
        return Refusal.PATH
    return Refusal.MODEL if status == 404 and "model_not_found" in words else None


def _of_the_call(status: int, words: str, headers: Mapping[str, str]) -> Refusal:
    asked = headers.get("x-should-retry", "").lower()
    kind = _by_status(status, words)
    if kind is not Refusal.REQUEST:
        return Refusal.FINAL if asked == "false" else kind
    # An upstream cannot talk us into repeating what the table calls hopeless.
    hopeless = status in (400, 404, 422)
    return Refusal.BUSY if asked == "true" and not hopeless else kind


def _by_status(status: int, words: str) -> Refusal:
    slow = _OVERLOADED.search(words) is not None
    if status == 429:
        return Refusal.SLOW_DOWN if slow else Refusal.RATE
    if status == 529 or (status == 503 and slow):
        return Refusal.OVERLOADED
    if status in (408, 409, 425):
        return Refusal.BUSY
    return Refusal.BROKEN if status >= 500 and status != 501 else Refusal.REQUEST


def _told(told: Told) -> dict[str, Any]:
    return error_object(told.message, "upstream_error", told.code)


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


# The first and the longest wait, in seconds. Later and elsewhere: this node waits, or cannot; others may be free.
WAITS = {
    Retry.LATER: (1.0, 1.0),
    Retry.ELSEWHERE: (1.0, 1.0),
    Retry.BACK_OFF: (0.5, 30.0),
    Retry.SLOWER: (2.0, 60.0),
}


def delay(retry: Retry, attempt: int, retry_after: float | None, uniform: Callable[[float, float], float]) -> float:
    """Seconds to wait before the attempt after `attempt` (1 is the first).

    Full jitter (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/): many requests that
    failed together do not come back together. `uniform`: `random.uniform`, or a test's own.
    """
    if retry_after is not None:
        return retry_after + uniform(0, min(1.0, retry_after / 10))
    first, longest = WAITS[retry]
    return uniform(0, min(longest, first * 2 ** min(attempt - 1, 16)))
