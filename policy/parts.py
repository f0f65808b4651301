"""Work that several serve, divided among them. Pure."""

from __future__ import annotations

from collections.abc import Sequence


def divided(total: int, rooms: Sequence[int], piece: int) -> list[int]:
    """The parts of `total` in proportion to `rooms`, in pieces of `piece`, so that little work is not everybody's.

    Largest remainders; of equal ones the first. Nothing goes where there is no room; the sum is `total`, unless there
    is no room at all.
    """
    everything = sum(rooms)
    if not everything:
        return [0] * len(rooms)
    pieces = -(-total // piece)
    parts = [pieces * room // everything for room in rooms]
    rest = sorted(range(len(rooms)), key=lambda index: -(pieces * rooms[index] % everything))
    for index in rest[: pieces - sum(parts)]:
        parts[index] += 1
    missing = pieces * piece - total  # the last piece is not whole
    counts = [part * piece for part in parts]
    counts[max(index for index, count in enumerate(counts) if count) if total else 0] -= missing
    return counts
