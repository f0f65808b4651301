"""Seconds of a batch by its size, as settings write it: `1:0.069,2:0.117,4:0.209`. Pure."""

from __future__ import annotations

import math

from core.errors import ConfigurationError

# As in a pipeline's description.
LARGEST = 1024


def read_table(text: str, variable: str) -> dict[int, float]:
    """Size → seconds; empty where the text is. Raises `ConfigurationError` that names the variable."""
    return dict(_entry(each, variable) for each in text.split(",")) if text.strip() else {}


def _entry(text: str, variable: str) -> tuple[int, float]:
    size, _, seconds = text.partition(":")
    try:
        entry = int(size), float(seconds)
    except ValueError:
        entry = 0, 0.0
    if not (1 <= entry[0] <= LARGEST and 0 < entry[1] < math.inf):
        raise ConfigurationError(
            f"{variable}: {text.strip()!r} is no size:seconds, as in 1:0.069,2:0.117 (sizes 1 to {LARGEST})"
        )
    return entry
