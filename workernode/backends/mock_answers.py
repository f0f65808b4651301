"""What the mock answers to each call of the OpenAI API, whole and in pieces. Pure: a word is a token and a chunk.

To every chat, and to every prompt of a text completion, it says the same. A text's embedding is made of its hash.
"""

from __future__ import annotations

import base64
import hashlib
import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from bus.messages import Usage
from bus.operations import FIELDS, Operation, operation_of
from workernode.stream import asks_for_usage

DIMENSIONS = 16
MOST_DIMENSIONS = 4096

_encode = msgspec.json.Encoder().encode
_IDS: dict[Operation, str] = {"chat": "chatcmpl-", "text_completion": "cmpl-", "embeddings": "embd-"}


class MockAnswer:
    """The answer to one request. `said`: the words of each of its choices; `model`: if the request names none.

    `head`: what all of its pieces say of it; `usage`: of the whole; `tokens`: words that are said in all.
    """

    def __init__(
        self, body: Mapping[str, Any], said: Sequence[str], *, request_id: str, model: str, created: int
    ) -> None:
        operation = operation_of(body)
        self.head = {"id": _IDS[operation] + request_id, "created": created, "model": body.get("model") or model}
        self._operation = operation
        self._body = body
        self._said = said
        self._choices = 1 if operation == "chat" else len(_texts(body)) if operation == "text_completion" else 0
        self.tokens = self._choices * len(said)
        self._prompt = prompt_words(body)
        self.usage = self.usage_after(self.tokens)

    def usage_after(self, words: int) -> Usage:
        """That of a part: so many words have been said."""
        return Usage(self._prompt, words, self._prompt + words)

    def chunks(self) -> Iterator[bytes]:
        """A word each; embeddings come at once."""
        if self._operation == "embeddings":
            yield self.whole()
        for index in range(self._choices):
            for number, word in enumerate(self._said):
                yield self._chunk(index, word, first=not number, finish_reason=None)

    def last_chunks(self) -> Iterator[bytes]:
        """What follows on the last word: the end of each choice, and the usage where it was asked for."""
        for index in range(self._choices):
            yield self._chunk(index, "", first=False, finish_reason="stop")
        if self._choices and asks_for_usage(self._body):
            yield _encode({**self.head, "object": self._object(chunk=True), "choices": [], "usage": self.usage})

    def whole(self) -> bytes:
        """In one piece."""
        if self._operation == "embeddings":
            data = list(_embeddings(self._body))
            usage = {"prompt_tokens": self._prompt, "total_tokens": self._prompt}
            return _encode({"object": "list", "data": data, "model": self.head["model"], "usage": usage})
        text = "".join(self._said)
        said = {"message": {"role": "assistant", "content": text}} if self._operation == "chat" else {"text": text}
        choices = [
            {"index": index, **said, "logprobs": None, "finish_reason": "stop"} for index in range(self._choices)
        ]
        return _encode({**self.head, "object": self._object(chunk=False), "choices": choices, "usage": self.usage})

    def _object(self, *, chunk: bool) -> str:
        if self._operation == "text_completion":
            return "text_completion"
        return "chat.completion.chunk" if chunk else "chat.completion"

    def _chunk(self, index: int, word: str, *, first: bool, finish_reason: str | None) -> bytes:
        said: dict[str, Any] = {"text": word}
        if self._operation == "chat":
            role = {"role": "assistant"} if first else {}
            said = {"delta": {} if finish_reason else {**role, "content": word}}
        choice = {"index": index, **said, "logprobs": None, "finish_reason": finish_reason}
        return _encode({**self.head, "object": self._object(chunk=True), "choices": [choice]})


def prompt_words(body: Mapping[str, Any]) -> int:
    """Words of what a request asks about; a token's number counts as one."""
    if (operation := operation_of(body)) != "chat":
        return sum(len(text.split()) if isinstance(text, str) else _length(text) for text in _texts(body))
    messages = body.get(FIELDS[operation])
    contents = (
        [each.get("content") for each in messages if isinstance(each, dict)] if isinstance(messages, list) else []
    )
    return sum(len(content.split()) for content in contents if isinstance(content, str))


def vector(text: Any, dimensions: int) -> list[float]:
    """The embedding of a text or of a list of tokens: of length 1, the same each time, of numbers of 32 bits."""
    bits = hashlib.shake_256(_encode(text)).digest(2 * dimensions)
    raw = struct.unpack(f"<{dimensions}h", bits)
    length = math.hypot(*raw) or 1.0
    return list(struct.unpack(f"<{dimensions}f", struct.pack(f"<{dimensions}f", *(each / length for each in raw))))


def _embeddings(body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    asked = body.get("dimensions")
    dimensions = min(asked, MOST_DIMENSIONS) if type(asked) is int and asked > 0 else DIMENSIONS
    for index, text in enumerate(_texts(body)):
        numbers = vector(text, dimensions)
        coded = numbers if body.get("encoding_format") != "base64" else _base64(numbers)
        yield {"object": "embedding", "index": index, "embedding": coded}


def _base64(numbers: Sequence[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


def _texts(body: Mapping[str, Any]) -> list[Any]:
    """Each text, or list of tokens, by itself."""
    given = body[FIELDS[operation_of(body)]]
    return given if isinstance(given, list) and given and isinstance(given[0], str | list) else [given]


def _length(tokens: Any) -> int:
    return len(tokens) if isinstance(tokens, list) else 0
