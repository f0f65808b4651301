"""OpenAI's formats as the gateway speaks them: errors, lists, chunks. Pure.

https://platform.openai.com/docs/api-reference
"""

from __future__ import annotations

from typing import Any

import msgspec

from bus.operations import Operation
from store import KnownModel


class RequestRefused(Exception):
    """The gateway does not take the request; the client is told `status`, `error`, and when to come again: after
    `retry_after` seconds, if that is known.
    """

    def __init__(
        self,
        status: int,
        message: str,
        kind: str,
        code: str | None,
        param: str | None = None,
        *,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = {} if retry_after is None else {"retry-after": str(retry_after)}
        self.error = {"message": message, "type": kind, "param": param, "code": code}


def unknown_model(name: str) -> RequestRefused:
    """No worker has ever served it."""
    message = f"The model '{name[:200]}' does not exist: no worker has served it. GET /v1/models lists those that do."
    return RequestRefused(404, message, "invalid_request_error", "model_not_found", "model")


def no_worker(name: str) -> RequestRefused:
    """All of its workers are unavailable: a person has to mend it."""
    message = f"No worker of the model '{name[:200]}' can serve now; whoever runs it has been told why."
    return server_error(503, message, "model_unavailable")


def too_large(limit: int) -> RequestRefused:
    """The body is over the limit."""
    message = f"The body is larger than {limit} bytes, the limit of this gateway (AGENTOS_MAX_BODY_BYTES)."
    return RequestRefused(413, message, "invalid_request_error", "request_too_large")


def server_error(status: int, message: str, code: str) -> RequestRefused:
    """The fault is on this side."""
    return RequestRefused(status, message, "server_error", code)


def error_body(error: dict[str, Any]) -> bytes:
    """An error answer's body."""
    return msgspec.json.encode({"error": error})


def model_object(model: KnownModel) -> dict[str, Any]:
    """A model as `/v1/models` shows it."""
    return {
        "id": model.name,
        "object": "model",
        "created": int(model.first_seen.timestamp()),
        "owned_by": f"agentos-{model.node_type}",
    }


def as_chunks(operation: Operation, response: bytes, *, include_usage: bool) -> list[bytes]:
    """A whole completion as the chunks of a stream: for an answer that comes from the store."""
    head = msgspec.json.decode(response)
    usage = head.pop("usage", None)
    if operation == "chat":
        head["object"] = "chat.completion.chunk"
        head["choices"] = [_as_delta(choice) for choice in head.get("choices", [])]
    chunks = [head]
    if include_usage and usage is not None:
        chunks.append({**head, "choices": [], "usage": usage})
    return [msgspec.json.encode(chunk) for chunk in chunks]


def _as_delta(choice: dict[str, Any]) -> dict[str, Any]:
    delta = dict(choice.get("message") or {})
    if calls := delta.get("tool_calls"):
        delta["tool_calls"] = [{"index": index, **call} for index, call in enumerate(calls)]
    return {**{key: value for key, value in choice.items() if key != "message"}, "delta": delta}
