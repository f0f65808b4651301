"""What the headers of an answer say about limits: how much, how much is left, how long until it is whole again.

The forms are those of https://platform.openai.com/docs/guides/rate-limits#rate-limits-in-headers and
https://www.rfc-editor.org/rfc/rfc9110#field.retry-after; seconds without a unit are in use as well.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

# The longest wait that an upstream may impose, in seconds: a wrong header must not park a request for a year.
LONGEST_WAIT = 3600.0

_DURATION = re.compile(r"([\d.]+)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True, slots=True)
class Standing:
    """One limit as the provider sees it. `limit`: units a minute. `reset`: seconds until `remaining` is `limit`."""

    limit: float
    remaining: float | None
    reset: float | None


def standing(headers: Mapping[str, str], what: str) -> Standing | None:
    """What is told of `what` ("requests" or "tokens"); None if no limit is told."""
    limit = number(headers.get(f"x-ratelimit-limit-{what}"))
    if limit is None or not 0 < limit < math.inf:
        return None
    remaining = number(headers.get(f"x-ratelimit-remaining-{what}"))
    if remaining is not None:
        remaining = min(max(remaining, 0.0), limit)
    return Standing(limit, remaining, _reset(headers, what))


def wait_asked_for(headers: Mapping[str, str], *, now: float) -> float | None:
    """Seconds that the upstream asks to wait, at most `LONGEST_WAIT`; None if it does not say. `now`: Unix time."""
    waits = (
        number(headers.get("retry-after-ms"), 0.001),
        number(headers.get("retry-after")),
        _date(headers.get("retry-after"), now),
        _longest_reset(headers),
    )
    asked = next((wait for wait in waits if wait is not None), None)
    return None if asked is None else min(max(asked, 0.0), LONGEST_WAIT)


def duration(text: str) -> float | None:
    """Seconds in a duration as `6m0s` or `120ms`; None if it is none."""
    parts = _DURATION.findall(text)
    if not parts or "".join(count + unit for count, unit in parts) != text:
        return None
    values = [number(count, _SECONDS[unit]) for count, unit in parts]
    return None if None in values else sum(value for value in values if value is not None)


def number(text: str | None, unit: float = 1.0) -> float | None:
    """`text` as a number of `unit`; None if it is none."""
    try:
        value = float(text or "") * unit
    except ValueError:
        return None
    return None if math.isnan(value) else value


def _date(text: str | None, now: float) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp() - now if text else None
    except (ValueError, OverflowError):
        return None


def _reset(headers: Mapping[str, str], what: str) -> float | None:
    text = headers.get(f"x-ratelimit-reset-{what}", "")
    seconds = duration(text)
    seconds = number(text) if seconds is None else seconds
    return None if seconds is None or not 0 <= seconds < math.inf else seconds


def _longest_reset(headers: Mapping[str, str]) -> float | None:
    """The time until the limits that are used up are reset."""
    used_up = [what for what in ("requests", "tokens") if headers.get(f"x-ratelimit-remaining-{what}") == "0"]
    resets = [_reset(headers, what) for what in used_up]
    return max((reset for reset in resets if reset is not None), default=None)
