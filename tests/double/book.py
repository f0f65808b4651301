"""The double's own book of calls, to be compared with somebody's ledger. Pure."""

from __future__ import annotations

from typing import Literal

import msgspec

Fate = Literal["running", "answered", "refused", "cut off"]


class Entry(msgspec.Struct):
    """One call. `name`: its X-Client-Request-Id. `key`: whose it is. Unix times in seconds.

    `cut off`: the client went before the end.
    """

    name: str
    key: str
    began_at: float
    ended_at: float | None = None
    fate: Fate = "running"


class Book:
    """In the order of their arrival."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def begin(self, name: str, key: str, now: float) -> Entry:
        """A call has arrived."""
        entry = Entry(name, key, now)
        self.entries.append(entry)
        return entry


def end(entry: Entry, fate: Fate, now: float) -> None:
    """Nothing more is sent."""
    entry.fate, entry.ended_at = fate, now


def to_json(book: Book) -> bytes:
    """All of it."""
    return msgspec.json.encode(book.entries)


def from_json(text: bytes) -> list[Entry]:
    """What `to_json` wrote."""
    return msgspec.json.decode(text, type=list[Entry])
