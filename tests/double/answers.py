"""What the double says."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from aiohttp import web

from tests.double.scripts import error_body
from tests.double.texts import embeddings, texts_of, tokens_of

MISHAPS = {
    "error in stream": b'data: {"error": {"message": "Overloaded.", "type": "server_error", "code": null}}\n\n',
    "not JSON in stream": b"data: <html>\n\n",
}


# A prompt that begins so is answered with the rest of it.
SAY = "Say: "
WORDS = ("Water", " boils", " at", " 100", " °C", ".")


def words_for(body: dict[str, Any]) -> tuple[str, ...]:
    """What is answered to a chat, in the pieces of a stream."""
    return _words(body["messages"][-1]["content"] if body["messages"] else None)


def _words(asked: Any) -> tuple[str, ...]:
    return (asked.removeprefix(SAY),) if isinstance(asked, str) and asked.startswith(SAY) else WORDS


def tokens_said(body: dict[str, Any]) -> int:
    """Words of the whole answer."""
    if "messages" in body:
        return len(words_for(body))
    return sum(len(words) for words in _said(body)) if "prompt" in body else 0


def _said(body: dict[str, Any]) -> list[tuple[str, ...]]:
    """The words of each choice of a text completion: those of a prompt stand together."""
    return [_words(prompt) for prompt in texts_of(body) for _ in range(body.get("n") or 1)]


def head(body: dict[str, Any]) -> dict[str, Any]:
    """What every answer and chunk begins with."""
    kind = "chatcmpl" if "messages" in body else "cmpl"
    return {"id": f"{kind}-double", "created": 1_700_000_000, "model": body.get("model")}


def whole(body: dict[str, Any]) -> dict[str, Any]:
    """An answer in one piece, without its usage."""
    if "messages" in body:
        message = {"role": "assistant", "content": "".join(words_for(body)), "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        return {**head(body), "object": "chat.completion", "choices": [choice]}
    if "prompt" in body:
        choices = [_text(index, "".join(words), "stop") for index, words in enumerate(_said(body))]
        return {**head(body), "object": "text_completion", "choices": choices}
    return {"object": "list", "data": embeddings(body), "model": body.get("model")}


def _text(index: int, text: str, finish_reason: str | None) -> dict[str, Any]:
    return {"text": text, "index": index, "logprobs": None, "finish_reason": finish_reason}


def chunks(body: dict[str, Any], *, half: bool) -> Iterable[dict[str, Any]]:
    """An answer in pieces, a word each; of a `half` only the first words."""
    if "messages" not in body:
        for index, words in enumerate(_said(body)):
            for word in _first(words, half=half):
                yield {**head(body), "object": "text_completion", "choices": [_text(index, word, None)]}
        return
    common = {**head(body), "object": "chat.completion.chunk"}
    words = _first(words_for(body), half=half)
    for delta in [{"role": "assistant", "content": ""}, *({"content": word} for word in words)]:
        yield {**common, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}]}


def _first(words: tuple[str, ...], *, half: bool) -> tuple[str, ...]:
    return words[: len(words) // 2] if half else words


def last_chunk(body: dict[str, Any]) -> dict[str, Any]:
    """The one that says why the answer ends."""
    if "messages" in body:
        common = {**head(body), "object": "chat.completion.chunk"}
        return {**common, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    choices = [_text(index, "", "stop") for index in range(len(_said(body)))]
    return {**head(body), "object": "text_completion", "choices": choices}


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
    if "messages" not in body:
        return sum(map(tokens_of, texts_of(body)))
    texts = [message["content"] for message in body["messages"] if isinstance(message["content"], str)]
    return sum(len(text.split()) for text in texts)
