"""When requests arrive, whatever becomes of those before: Poisson, gamma, a trace. Pure; the randomness is given."""

from __future__ import annotations

import csv
import itertools
import math
import random
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from core.errors import ConfigurationError

TIME = "arrived_at"
TOKENS = ("num_prefill_tokens", "num_decode_tokens")


class Arrival(NamedTuple):
    """`at`: seconds from the start. Tokens of prompt and answer, where a trace tells them."""

    at: float
    prompt_tokens: int | None = None
    answer_tokens: int | None = None


def gamma(rate: float, burstiness: float, rng: random.Random) -> Iterator[Arrival]:
    """Gaps from a gamma distribution of shape `burstiness`, `rate` a second in the mean, for ever.

    1 is Poisson; less is burstier: the gaps' coefficient of variation is 1 ÷ √burstiness.
    """
    gaps = (rng.gammavariate(burstiness, 1 / (rate * burstiness)) for _ in itertools.repeat(None))
    return map(Arrival, itertools.accumulate(gaps))


def poisson(rate: float, rng: random.Random) -> Iterator[Arrival]:
    """Independent arrivals, `rate` a second in the mean, for ever."""
    return gamma(rate, 1, rng)


def trace(lines: Iterable[str]) -> list[Arrival]:
    """Arrivals of a CSV file, in the order of time, the first at 0.

    Its columns are `TIME`, in seconds, and both or none of `TOKENS`. A file with nothing but times needs no line of
    names. Raises `ConfigurationError` that names the line.
    """
    rows = csv.reader(lines)
    names = next(rows, [])
    nameless = len(names) == 1 and _is_number(names[0])
    columns = [TIME] if nameless else names
    if TIME not in columns:
        raise ConfigurationError(f"the trace lacks the column {TIME}")
    places = columns.index(TIME), [columns.index(name) for name in TOKENS if name in columns]
    if len(places[1]) not in (0, len(TOKENS)):
        raise ConfigurationError(f"the trace has one of the columns {', '.join(TOKENS)}: it needs both or none")
    found = [_arrival(names, 1, *places)] if nameless else []
    found += [_arrival(row, rows.line_num, *places) for row in rows if row]
    found.sort(key=lambda arrival: arrival.at)
    return [arrival._replace(at=arrival.at - found[0].at) for arrival in found]


def at_rate(arrivals: list[Arrival], rate: float) -> list[Arrival]:
    """The same gaps, all stretched or shrunk alike, for `rate` a second in the mean."""
    if len(arrivals) < 2 or not arrivals[-1].at:
        return arrivals
    factor = (len(arrivals) - 1) / arrivals[-1].at / rate
    return [arrival._replace(at=arrival.at * factor) for arrival in arrivals]


def within(arrivals: Iterable[Arrival], seconds: float) -> Iterator[Arrival]:
    """Those of the first `seconds`."""
    return itertools.takewhile(lambda arrival: arrival.at < seconds, arrivals)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _arrival(row: list[str], line: int, time: int, tokens: list[int]) -> Arrival:
    try:
        at, counts = float(row[time]), [int(row[column]) for column in tokens]
    except (IndexError, ValueError):
        raise ConfigurationError(
            f"line {line} of the trace does not hold a time in seconds{' and two counts' if tokens else ''}"
        ) from None
    if not math.isfinite(at) or min(counts, default=0) < 0:
        raise ConfigurationError(f"line {line} of the trace holds a time that is none, or a negative count")
    return Arrival(at, *counts)
