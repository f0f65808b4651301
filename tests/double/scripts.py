"""What the double does with a request, beside answering it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Step:
    """One request's treatment. `kind` is one of the names below; `status` and `headers` are those of a refusal."""

    kind: str = "answer"
    status: int = 200
    code: str | None = None
    headers: dict[str, str] = field(default_factory=dict)


ANSWER = Step()
HTML = Step("html")  # a page with status 200
HTML_502 = Step("html", 502)
HANG = Step("hang")  # nothing, ever, until the client goes
HANG_IN_STREAM = Step("hang in stream")  # one chunk, then nothing
HALF_STREAM = Step("half stream")  # the stream ends in order, but before the answer does
DROP = Step("drop")  # the connection is cut in mid-answer
PLAIN = Step("plain")  # JSON, even if a stream was asked for
STREAM = Step("stream")  # events, even if a plain answer was asked for
ERROR_IN_STREAM = Step("error in stream")
NOT_JSON_IN_STREAM = Step("not JSON in stream")
NO_DONE = Step("no done")  # whole, but without [DONE]
HANG_AFTER_DONE = Step("hang after done")  # whole, but the response does not end
NO_USAGE = Step("no usage")
FAULT = Step("refuse", 500)
BAD_KEY = Step("refuse", 401, "invalid_api_key")
OVERLOADED = Step("refuse", 503, "slow_down")
NO_QUOTA = Step("refuse", 429, "insufficient_quota")


def refuse(status: int, code: str | None = None, **headers: str) -> Step:
    """An OpenAI error answer; underscores in header names become hyphens."""
    return Step("refuse", status, code, {name.replace("_", "-"): value for name, value in headers.items()})


def error_body(message: str, code: str | None) -> dict[str, Any]:
    """An OpenAI error object."""
    return {"error": {"message": message, "type": code or "server_error", "param": None, "code": code}}
