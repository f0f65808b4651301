"""Streams of chat completions: their events, the answer that their chunks add up to, and what it used.

Pure: bytes and decoded JSON in, bytes and decoded JSON out. The event format is that of
https://html.spec.whatwg.org/multipage/server-sent-events.html.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bus.messages import Usage

DONE = b"[DONE]"

# Strings of a delta that name a thing: providers repeat them in every chunk, so they are not joined.
_NAMES = frozenset({"role", "id", "type", "name"})


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
        events = self.feed(b"\n\n")
        return events + self.feed(b"\n\n") if self._rest else events

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
                for choice in value if isinstance(value, list) else ():
                    self._add_choice(choice)
            elif value is not None or key not in self._head:
                self._head[key] = value

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

    def _add_choice(self, piece: Any) -> None:
        if not isinstance(piece, dict):
            return
        index = piece.get("index")
        index = index if isinstance(index, int) else 0
        choice = self._choices.setdefault(index, {"index": index, "message": {}, "finish_reason": None})
        for key, value in piece.items():
            if key == "delta":
                _merge(choice["message"], value if isinstance(value, dict) else {})
            elif key == "finish_reason":
                choice[key] = value or choice[key]
            elif key != "index":
                _merge(choice, {key: value})


class _Text(list[str]):
    """Pieces of a text, joined once at the end: joining at each chunk would cost the square of its length."""


def _merge(whole: dict[str, Any], piece: Mapping[str, Any]) -> None:
    for key, value in piece.items():
        had = whole.get(key)
        if isinstance(value, str) and key not in _NAMES:
            if isinstance(had, _Text):
                had.append(value)
            else:
                whole[key] = _Text([value])
        elif isinstance(value, dict):
            _merge(
                had
                if isinstance(had, dict)
                else whole.setdefault(key, {}) or whole.__setitem__(key, {}) or whole[key],
                value,
            )
        elif isinstance(value, list):
            whole[key] = _merged_list(had if isinstance(had, list) else [], value)
        elif (value is not None and value != "") or key not in whole:
            whole[key] = value


def _merged_list(whole: list[Any], piece: list[Any]) -> list[Any]:
    """Members with an `index` (tool calls) are merged with the one of that index, others are appended."""
    for member in piece:
        index = member.get("index") if isinstance(member, dict) else None
        if index is None:
            whole.append(member)
            continue
        known = next((each for each in whole if isinstance(each, dict) and each.get("index") == index), None)
        if known is None:
            known = {}
            whole.append(known)
        _merge(known, member)
    return whole
