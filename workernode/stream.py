"""Streams of chat completions: their events, the answer that their chunks add up to, and what it used.

Pure: bytes and decoded JSON in, bytes and decoded JSON out. The event format is that of
https://html.spec.whatwg.org/multipage/server-sent-events.html.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from bus.messages import Usage

DONE = b"[DONE]"

# Strings of a delta that name a thing: providers repeat them in every chunk, so they are not joined.
_NAMES = frozenset({"role", "id", "type", "name"})
_NOT_TEXT = _NAMES | {"image_url", "input_audio", "file", "audio", "tool_call_id"}


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

    def __init__(self) -> None:
        self._head: dict[str, Any] = {}
        self._choices: dict[int, dict[str, Any]] = {}

    def add(self, chunk: Mapping[str, Any]) -> None:
        """Takes one decoded chat.completion.chunk."""
        for key, value in chunk.items():
            if key == "choices":
                for choice in _choices(chunk):
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
        """The chat.completion so far."""
        choices = [_whole_choice(self._choices[index]) for index in sorted(self._choices)]
        return {**self._head, "object": "chat.completion", "choices": choices}

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
        if isinstance(value, str) and key not in _NAMES:
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
    for call in _objects(message.get("tool_calls")):
        call.pop("index", None)  # plain answers have none
    return whole | {"message": message}


def _joined(value: Any) -> Any:
    if isinstance(value, _Text):
        return "".join(value.pieces)
    if isinstance(value, dict):
        return {key: _joined(each) for key, each in value.items()}
    return [_joined(each) for each in value] if isinstance(value, list) else value


def _choices(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    return _objects(answer.get("choices"))


def _objects(value: Any) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def chunks_of(response: Mapping[str, Any], *, with_usage: bool) -> Iterator[dict[str, Any]]:
    """A plain answer as the chunks of a stream, for an upstream that cannot stream. Each choice has a message."""
    head = {key: value for key, value in response.items() if key not in ("choices", "usage")}
    head["object"] = "chat.completion.chunk"
    for choice in response["choices"]:
        rest = {key: value for key, value in choice.items() if key != "message"}
        yield {**head, "choices": [{**rest, "delta": _delta(choice["message"]), "finish_reason": None}]}
        end = {"index": choice.get("index", 0), "delta": {}, "finish_reason": choice.get("finish_reason") or "stop"}
        yield {**head, "choices": [end]}
    if with_usage and response.get("usage"):
        yield {**head, "choices": [], "usage": response["usage"]}


def _delta(message: Mapping[str, Any]) -> dict[str, Any]:
    calls = _objects(message.get("tool_calls"))
    return (
        {**message, "tool_calls": [{"index": index, **call} for index, call in enumerate(calls)]}
        if calls
        else {**message}
    )


def carries_text(chunk: Mapping[str, Any]) -> bool:
    """Whether a chunk brings a part of the answer: a role or an empty text alone is none."""
    for choice in _choices(chunk):
        delta = choice.get("delta")
        if isinstance(delta, dict) and any(value for key, value in delta.items() if key != "role"):
            return True
    return False


def is_usage_chunk(chunk: Mapping[str, Any]) -> bool:
    """Whether this is the chunk that `stream_options.include_usage` adds."""
    return not chunk.get("choices") and isinstance(chunk.get("usage"), dict)


def asks_for_usage(body: Mapping[str, Any]) -> bool:
    """Whether the client of a stream wants the chunk with its usage."""
    options = body.get("stream_options")
    return isinstance(options, dict) and options.get("include_usage") is True


def usage_of(response: Mapping[str, Any]) -> Usage | None:
    """The usage that an answer states, by the names of Chat Completions or of Responses; None if it states none."""
    usage = response.get("usage")
    if not isinstance(usage, dict):
        return None
    prompt = _count(usage, "prompt_tokens", "input_tokens")
    completion = _count(usage, "completion_tokens", "output_tokens")
    if prompt is None and completion is None:
        return None
    prompt, completion = prompt or 0, completion or 0
    total = _count(usage, "total_tokens")
    return Usage(
        prompt,
        completion,
        prompt + completion if total is None else total,
        _details(usage, "prompt_tokens_details", "input_tokens_details"),
        _details(usage, "completion_tokens_details", "output_tokens_details"),
    )


def _count(usage: Mapping[str, Any], *names: str) -> int | None:
    return next((usage[name] for name in names if type(usage.get(name)) is int and usage[name] >= 0), None)


def _details(usage: Mapping[str, Any], *names: str) -> dict[str, Any] | None:
    return next((usage[name] for name in names if isinstance(usage.get(name), dict)), None)


def estimated_usage(body: Mapping[str, Any], response: Mapping[str, Any]) -> Usage:
    """A guess where the upstream states no usage: a token for every 4 bytes of text, rounded up.

    Pictures and sounds are not counted; tool definitions, names and roles are not either. Reasoning that is shown is
    counted as such. What was cached cannot be known.
    """
    messages = body.get("messages")
    prompt = sum(map(_tokens, messages)) if isinstance(messages, list) else 0
    answers = [choice.get("message") for choice in _choices(response)]
    completion = sum(map(_tokens, answers))
    reasoning = sum(map(_tokens, map(_reasoning, answers)))
    details = {"reasoning_tokens": reasoning} if reasoning else None
    return Usage(prompt, completion, prompt + completion, None, details)


def _reasoning(message: Any) -> str | None:
    """By either of the names under which servers show it."""
    return (message.get("reasoning_content") or message.get("reasoning")) if isinstance(message, dict) else None


def _tokens(message: Any) -> int:
    return -(-_text_bytes(message) // 4)


def _text_bytes(value: Any) -> int:
    if isinstance(value, str):
        return len(value.encode("utf-8", "surrogatepass"))
    if isinstance(value, list):
        return sum(map(_text_bytes, value))
    if isinstance(value, dict):
        return sum(_text_bytes(each) for key, each in value.items() if key not in _NOT_TEXT)
    return 0
