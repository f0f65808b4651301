"""What the double says."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from aiohttp import web

from tests.double.scripts import error_body

MISHAPS = {
    "error in stream": b'data: {"error": {"message": "Overloaded.", "type": "server_error", "code": null}}\n\n',
    "not JSON in stream": b"data: <html>\n\n",
}


# A prompt that begins so is answered with the rest of it.
SAY = "Say: "
WORDS = ("Water", " boils", " at", " 100", " °C", ".")


def words_for(body: dict[str, Any]) -> tuple[str, ...]:
    """What is answered, in the pieces of a stream."""
    asked = body["messages"][-1]["content"] if body["messages"] else None
    return (asked.removeprefix(SAY),) if isinstance(asked, str) and asked.startswith(SAY) else WORDS


def head(body: dict[str, Any]) -> dict[str, Any]:
    """What every answer and chunk begins with."""
    return {"id": "chatcmpl-double", "created": 1_700_000_000, "model": body.get("model")}


def chunks(body: dict[str, Any], words: Iterable[str]) -> Iterable[dict[str, Any]]:
    """An answer in pieces, a word each."""
    common = {**head(body), "object": "chat.completion.chunk"}
    for delta in [{"role": "assistant", "content": ""}, *({"content": word} for word in words)]:
        yield {**common, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}]}


async def send(response: web.StreamResponse, chunk: dict[str, Any]) -> None:
    """One event of a stream."""
    await response.write(b"data: " + json.dumps(chunk, separators=(",", ":")).encode() + b"\n\n")


def cut(request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    """Ends the connection where it stands."""
    if request.transport is not None:
        request.transport.abort()
    return response


def refusal(status: int, code: str | None, message: str, headers: dict[str, str]) -> web.Response:
    """An OpenAI error answer."""
    return web.json_response(error_body(message, code), status=status, headers=headers)


def prompt_tokens(body: dict[str, Any]) -> int:
    """A word is a token."""
    texts = [message["content"] for message in body["messages"] if isinstance(message["content"], str)]
    return sum(len(text.split()) for text in texts)
