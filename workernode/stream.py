"""Streams of completions: their events, the answer that their chunks add up to, and chunks made of a whole answer.

Pure: bytes and decoded JSON in, bytes and decoded JSON out. The event format is that of
https://html.spec.whatwg.org/multipage/server-sent-events.html.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from bus.operations import Operation

DONE = b"[DONE]"

# Strings of a delta that name a thing: providers repeat them in every chunk, so they are not joined.
NAMES = frozenset({"role", "id", "type", "name"})


class EventParser:
    """Server-sent events, fed in pieces cut anywhere. Only `data` is kept; the rest says nothing to us."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []

    def feed(self, piece: bytes) -> list[bytes]:
        """The data of the events that `piece` completes."""
        text = self._rest + piece
        # A carriage return at the end may be half of a line's end: it waits for what follows.
        held = text.endswith(b"\r")
        lines = _lines(text[:-1] if held else text)
        self._rest = lines.pop() + (b"\r" if held else b"")
        return [event for line in lines if (event := self._line(line)) is not None]

    def close(self) -> list[bytes]:
        """The data of a last event whose end is missing."""
        return self.feed(b"\n\n")

    def _line(self, line: bytes) -> bytes | None:
        if line.startswith(b"data:"):
            self._data.append(line[6:] if line[5:6] == b" " else line[5:])
        elif not line and self._data:
            event = b"\n".join(self._data)
            self._data.clear()
            return event
        return None


def _lines(text: bytes) -> list[bytes]:
    if b"\r" in text:
        text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return text.split(b"\n")


class Assembler:
    """Adds the chunks of a stream up to the answer that a plain request would have got.

    Fields that are not known are treated by kind: texts are joined, lists lengthened, objects merged, else the last
    value stands. So a provider's new fields survive on the day they appear.
    """

    def __init__(self, operation: Operation = "chat") -> None:
        self._chat = operation == "chat"
        self._head: dict[str, Any] = {}
        self._choices: dict[int, dict[str, Any]] = {}

    def add(self, chunk: Mapping[str, Any]) -> None:
        """Takes one decoded chunk."""
        for key, value in chunk.items():
            if key == "choices":
                for choice in choices_of(chunk):
                    self._add_choice(choice)
            elif value is not None or key not in self._head:
                self._head[key] = value

    @property
    def head(self) -> Mapping[str, Any]:
        """What the answer says of itself beside its choices: id, model, usage."""
        return self._head

    @property
    def begun(self) -> bool:
        """Whether a part of an answer has arrived."""
        return bool(self._choices)

    @property
    def finished(self) -> bool:
        """Whether every choice seen has its finish_reason."""
        return self.begun and all(choice.get("finish_reason") for choice in self._choices.values())

    def answer(self) -> dict[str, Any]:
        """The chat.completion or text_completion so far."""
        whole = _whole_choice if self._chat else _whole_text
        choices = [whole(self._choices[index]) for index in sorted(self._choices)]
        return {**self._head, "object": "chat.completion" if self._chat else "text_completion", "choices": choices}

    def _add_choice(self, piece: Mapping[str, Any]) -> None:
        index = piece.get("index")
        index = index if isinstance(index, int) else 0
        choice = self._choices.setdefault(index, {"index": index, "message": {}, "finish_reason": None})
        for key, value in piece.items():
            if key == "delta":
                _merge(choice["message"], value if isinstance(value, dict) else {})
            elif key == "finish_reason":
                choice[key] = value or choice[key]
            elif key not in ("index", "message"):  # a chunk has a delta instead of a message
                _merge(choice, {key: value})


class _Text:
    """Pieces of a text, joined once at the end: joining at each chunk would cost the square of its length."""

    def __init__(self) -> None:
        self.pieces: list[str] = []


def _merge(whole: dict[str, Any], piece: Mapping[str, Any]) -> None:
    for key, value in piece.items():
        if isinstance(value, str) and key not in NAMES:
            _place(whole, key, _Text).pieces.append(value)
        elif isinstance(value, dict):
            _merge(_place(whole, key, dict), value)
        elif isinstance(value, list):
            _lengthen(_place(whole, key, list), value)
        elif (value is not None and value != "") or key not in whole:
            whole[key] = value


Kind = TypeVar("Kind", bound="dict[str, Any] | list[Any] | _Text")


def _place(whole: dict[str, Any], key: str, kind: type[Kind]) -> Kind:
    """The value at `key`, made anew if it is of another kind."""
    value = whole.get(key)
    if not isinstance(value, kind):
        value = whole[key] = kind()
    return value


def _lengthen(whole: list[Any], piece: list[Any]) -> None:
    """Members with an `index` (tool calls) are merged with the one of that index, others are appended."""
    for member in piece:
        if not isinstance(member, dict) or "index" not in member:
            whole.append(member)
            continue
        known = next(
            (each for each in whole if isinstance(each, dict) and each.get("index") == member["index"]), None
        )
        if known is None:
            whole.append(known := {})
        _merge(known, member)


def _whole_choice(choice: dict[str, Any]) -> dict[str, Any]:
    whole = {key: _joined(value) for key, value in choice.items()}
    message = {"role": "assistant", "content": None} | whole["message"]
    for call in objects(message.get("tool_calls")):
        call.pop("index", None)  # plain answers have none
    return whole | {"message": message}


def _whole_text(choice: dict[str, Any]) -> dict[str, Any]:
    return {"text": "", **{key: _joined(value) for key, value in choice.items() if key != "message"}}


def _joined(value: Any) -> Any:
    if isinstance(value, _Text):
        return "".join(value.pieces)
    if isinstance(value, dict):
        return {key: _joined(each) for key, each in value.items()}
    return [_joined(each) for each in value] if isinstance(value, list) else value


def choices_of(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The choices of an answer or a chunk, as far as they are objects."""
    return objects(answer.get("choices"))


def objects(value: Any) -> list[dict[str, Any]]:
    """The objects in a list."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def chunks_of(
    response: Mapping[str, Any], operation: Operation = "chat", *, with_usage: bool
) -> Iterator[dict[str, Any]]:
    """A plain answer as the chunks of a stream, for an upstream that cannot stream; embeddings are one chunk.

    Each choice has a message or, of a text completion, a text.
    """
    if operation == "embeddings":
        yield {**response}
        return
    chat = operation == "chat"
    head = {key: value for key, value in response.items() if key not in ("choices", "usage")}
    head["object"] = "chat.completion.chunk" if chat else "text_completion"
    for choice in response["choices"]:
        rest = {key: value for key, value in choice.items() if key != "message"}
        said = {"delta": _delta(choice["message"])} if chat else {}
        yield {**head, "choices": [{**rest, **said, "finish_reason": None}]}
        ended: dict[str, Any] = {"delta": {}} if chat else {"text": ""}
        end = {"index": choice.get("index", 0), **ended, "finish_reason": choice.get("finish_reason") or "stop"}
        yield {**head, "choices": [end]}
    if with_usage and response.get("usage"):
        yield {**head, "choices": [], "usage": response["usage"]}


def _delta(message: Mapping[str, Any]) -> dict[str, Any]:
    calls = objects(message.get("tool_calls"))
    return (
        {**message, "tool_calls": [{"index": index, **call} for index, call in enumerate(calls)]}
        if calls
        else {**message}
    )


def carries_text(chunk: Mapping[str, Any]) -> bool:
    """Whether a chunk brings a part of the answer: a role or an empty text alone is none."""
    for choice in choices_of(chunk):
        delta = choice.get("delta")
        said = isinstance(delta, dict) and any(value for key, value in delta.items() if key != "role")
        if said or choice.get("text"):
            return True
    return False


def is_usage_chunk(chunk: Mapping[str, Any]) -> bool:
    """Whether this is the chunk that `stream_options.include_usage` adds."""
    return not chunk.get("choices") and isinstance(chunk.get("usage"), dict)


def asks_for_usage(body: Mapping[str, Any]) -> bool:
    """Whether the client of a stream wants the chunk with its usage."""
    options = body.get("stream_options")
    return isinstance(options, dict) and options.get("include_usage") is True
