"""Labels of metrics that others choose, kept few."""

from __future__ import annotations

OTHER = "_OTHER"


class Names:
    """Lets through the first `limit` names, and calls all others `_OTHER`."""

    __slots__ = ("_known", "_limit")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._known: set[str] = set()

    def of(self, name: str) -> str:
        """The name to count it under."""
        if name in self._known:
            return name
        if len(self._known) >= self._limit:
            return OTHER
        self._known.add(name)
        return name
