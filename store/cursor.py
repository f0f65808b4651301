"""Places in a graph's history, as text that fits a line of server-sent events. Pure."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import quote, unquote

from core.errors import NotFound

LARGEST = 2**64 - 1


class Place(NamedTuple):
    """After the event of this transaction, kind and node."""

    xid: int
    kind: str
    node_id: str


BEGINNING = Place(0, "", "")


def encode(place: Place) -> str:
    """ASCII without spaces, quotes or line ends."""
    return f"{place.xid}.{place.kind}.{quote(place.node_id, safe='')}"


def decode(cursor: str) -> Place:
    """Raises `NotFound` where it is none that `encode` could have made."""
    xid, kind, node_id = [*cursor.split(".", 2), "", ""][:3]
    if not (xid.isascii() and xid.isdigit() and len(xid) <= 20 and int(xid) <= LARGEST):
        raise NotFound("there is no such place in the task's events")
    place = Place(int(xid), kind, unquote(node_id, errors="replace"))
    if encode(place) != cursor or "\0" in place.node_id:
        raise NotFound("there is no such place in the task's events")
    return place


def ends(cursor: str) -> bool:
    """It is that of a graph's end, after which nothing happens. Raises `NotFound` as `decode`."""
    return decode(cursor).kind == "ended"
