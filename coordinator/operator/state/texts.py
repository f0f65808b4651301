"""Texts and times as Kubernetes has them. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Any

LONGEST_TEXT = 1000


def one_line(text: Any, longest: int = LONGEST_TEXT) -> str:
    """A text from outside: bounded, and without what a terminal would not just show."""
    # The length is bounded twice, as a long text is not to be worked through.
    shown = "".join(char if char.isprintable() else " " for char in str(text)[: 4 * longest])
    line = " ".join(shown.split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def read_time(text: Any) -> float:
    """Unix time in seconds of RFC 3339; 0 of what is none."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except (TypeError, ValueError, OverflowError):
        return 0.0
