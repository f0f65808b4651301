"""What an upstream sends, on its way to the client: checked, passed on, added up."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from bus.messages import Usage
from bus.operations import Operation, operation_of
from workernode.backends.base import Answer, Progress, Sink
from workernode.classify import Loss, error_object, lost, refused
from workernode.errors import CallFailed
from workernode.stream import (
    DONE,
    Assembler,
    EventParser,
    asks_for_usage,
    carries_text,
    chunks_of,
    is_usage_chunk,
)
from workernode.usage import estimated_usage, usage_of

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class StreamRelay:
    """One streamed answer. Chunks go to `sink` byte for byte, but the usage that the client did not ask for.

    `progress` hears of the first token.
    """

    def __init__(self, body: dict[str, Any], sink: Sink | None, *, progress: Progress, secret: str) -> None:
        self.done = False
        self._body = body
        self._sink = sink
        self._secret = secret
        self._tell_usage = asks_for_usage(body)
        self._events = EventParser()
        self._operation = operation_of(body)
        self._whole = Assembler(self._operation)
        self._progress = progress
        self._plain: dict[str, Any] | None = None

    @property
    def head(self) -> Mapping[str, Any]:
        """What the answer, or the part of it that has arrived, says of itself."""
        return self._whole.head if self._plain is None else self._plain

    def feed(self, piece: bytes) -> None:
        """Takes bytes as they arrive. Raises `CallFailed` for an error or nonsense within the stream."""
        for event in self._events.feed(piece):
            self._event(event)

    def close(self) -> Answer:
        """The answer at the end of the stream. Raises `CallFailed` if it is only a part of one."""
        for event in self._events.close():
            self._event(event)
        if not self._whole.begun or not (self.done or self._whole.finished):
            raise CallFailed(lost(Loss.HALF_STREAM), usage=self.partial_usage())
        response = self._whole.answer()
        return _answer(response, self._body, self._progress.first_token_at)

    def plain(self, data: bytes) -> Answer:
        """A whole answer at once; turned into chunks where a stream was asked for. Raises `CallFailed`."""
        response = _object(data)
        if response is not None and response.get("error"):
            raise self._refusal(response["error"])
        if response is None or not _answers(self._operation, response):
            raise CallFailed(lost(Loss.NOT_AN_ANSWER))
        self._plain = response
        if self._sink is None:
            return _answer(response, self._body, None, data)
        for chunk in chunks_of(response, self._operation, with_usage=self._tell_usage):
            self._sink.chunk(_encode(chunk))
        self._progress.first_token_at = time.time()
        return _answer(response, self._body, self._progress.first_token_at, data)

    def partial_usage(self) -> Usage | None:
        """What a broken stream has used, estimated; None if nothing had arrived."""
        if not self._whole.begun:
            return None
        response = self._whole.answer()
        return usage_of(response) or estimated_usage(self._body, response)

    def _event(self, event: bytes) -> None:
        if self.done or event.strip() == DONE:
            self.done = True
            return
        chunk = _object(event)
        if chunk is None:
            raise CallFailed(lost(Loss.NOT_AN_ANSWER), usage=self.partial_usage())
        if chunk.get("error"):
            raise self._refusal(chunk["error"])
        if self._progress.first_token_at is None and carries_text(chunk):
            self._progress.first_token_at = time.time()
        self._whole.add(chunk)
        if self._sink is not None and (self._tell_usage or not is_usage_chunk(chunk)):
            self._sink.chunk(event)

    def _refusal(self, error: Any) -> CallFailed:
        """An error within an answer of status 200: some providers notice it only then."""
        described = _described(error)
        verdict = refused(_status_of(described), described, {}, now=time.time(), secret=self._secret)
        return CallFailed(verdict, usage=self.partial_usage())


def error_of(data: bytes) -> dict[str, Any] | None:
    """The inside of the OpenAI error object in an error answer's body; None if there is none (HTML, nothing)."""
    answer = _object(data)
    if answer is None:
        return None
    if answer.get("error"):
        return _described(answer["error"])
    # Older servers of this kind put the error's fields at the top.
    return _described(answer) if isinstance(answer.get("message"), str) else None


def _described(error: Any) -> dict[str, Any]:
    fields = error if isinstance(error, dict) else {"message": error}
    message = fields.get("message")
    known = error_object(
        message if isinstance(message, str) else "The upstream gives no reason.", "upstream_error", None
    )
    return known | {key: fields[key] for key in ("type", "param", "code") if fields.get(key) is not None}


def _status_of(error: dict[str, Any]) -> int:
    code = error["code"]
    if isinstance(code, int) and 400 <= code < 600:
        return code
    return 429 if "rate_limit" in f"{code} {error['type']}" else 500


def _answer(
    response: dict[str, Any], body: dict[str, Any], first_token_at: float | None, data: bytes | None = None
) -> Answer:
    usage = usage_of(response)
    return Answer(
        _encode(response) if data is None else data,
        estimated_usage(body, response) if usage is None else usage,
        usage is None,
        first_token_at,
    )


def _answers(operation: Operation, response: dict[str, Any]) -> bool:
    """Whether it has what an answer to this has."""
    parts = response.get("data" if operation == "embeddings" else "choices")
    return isinstance(parts, list) and bool(parts) and all(map(_PART[operation], parts))


_PART: dict[Operation, Callable[[Any], bool]] = {
    "chat": lambda part: isinstance(part, dict) and isinstance(part.get("message"), dict),
    "text_completion": lambda part: isinstance(part, dict) and isinstance(part.get("text"), str),
    "embeddings": lambda part: isinstance(part, dict) and isinstance(part.get("embedding"), list | str),
}


def _object(data: bytes) -> dict[str, Any] | None:
    try:
        value = _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
