"""Server-sent events, from bytes as they come. Pure.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

from typing import NamedTuple


class Sent(NamedTuple):
    """One event. `id`: the last one told, also by an earlier event; `name`: `message` where it has none."""

    id: str
    name: str
    data: str


class Parser:
    """Takes bytes in any pieces; gives the events that are whole."""

    def __init__(self) -> None:
        self._rest = b""
        self._id = ""
        self._name = ""
        self._data: list[str] = []

    def feed(self, received: bytes) -> list[Sent]:
        """The events that these bytes complete."""
        *lines, self._rest = (self._rest + received).replace(b"\r\n", b"\n").split(b"\n")
        return [event for line in lines if (event := self._line(line.decode(errors="replace"))) is not None]

    def _line(self, line: str) -> Sent | None:
        if not line:
            return self._whole()
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match field:
            case "data":
                self._data.append(value)
            case "event":
                self._name = value
            case "id":
                self._id = value
        return None

    def _whole(self) -> Sent | None:
        event = Sent(self._id, self._name or "message", "\n".join(self._data)) if self._data else None
        self._name = ""
        self._data = []
        return event
