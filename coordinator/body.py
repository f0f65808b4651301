"""Reads the body of an HTTP request, within a limit."""

from __future__ import annotations

from starlette.types import Receive, Scope

from coordinator.openai import RequestRefused, too_large


async def read_body(scope: Scope, receive: Receive, limit: int) -> bytes:
    """Raises `RequestRefused`: 413 above `limit` bytes, 400 if the client leaves half way."""
    if int(dict(scope["headers"]).get(b"content-length", b"0")) > limit:
        raise too_large(limit)
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise RequestRefused(400, "The body ended half way.", "invalid_request_error", None)
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > limit:
            raise too_large(limit)
        if not message.get("more_body"):
            return b"".join(parts)
