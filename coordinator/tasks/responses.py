"""Responses that nodes need: those just folded here from memory, the rest from the store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from store import Store

# Characters that are kept. What a node says is mostly needed by the next one, at once.
MOST = 16 << 20


class Responses:
    """By document."""

    def __init__(self, store: Store, most: int = MOST) -> None:
        self._store = store
        self._most = most
        self._kept: dict[int, str] = {}
        self._size = 0

    def keep(self, responses: Mapping[int, str]) -> None:
        """They have just been folded. The oldest make room for them."""
        for number, text in responses.items():
            if number not in self._kept:
                self._kept[number] = text
                self._size += len(text)
        while self._size > self._most:
            self._size -= len(self._kept.pop(next(iter(self._kept))))

    async def of(self, numbers: Iterable[int]) -> dict[int, str]:
        """Those of these documents that are there. Raises `StoreUnavailable`."""
        wanted = set(numbers)
        found = {number: text for number in wanted if (text := self._kept.get(number)) is not None}
        missing = sorted(wanted - found.keys())
        return found | (await self._store.responses(missing) if missing else {})
