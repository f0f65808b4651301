"""A mistake of ours about one object must not stop the others. What it says may hold the object: it is not told."""

from __future__ import annotations

import traceback


def told(error: BaseException) -> str:
    """What it was and where: no values."""
    frames = traceback.extract_tb(error.__traceback__)
    where = " < ".join(f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in reversed(frames[-3:]))
    return f"a mistake of the operator's own: {type(error).__name__} at {where}"
