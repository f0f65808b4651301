"""When requests arrive, whatever becomes of those before: Poisson, gamma, a trace. Pure; the randomness is given."""

from __future__ import annotations

import csv
import itertools
import math
import random
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from core.errors import ConfigurationError

COLUMNS = ("arrived_at", "num_prefill_tokens", "num_decode_tokens")


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
    """Arrivals of a CSV file with the columns of `COLUMNS`, in the order of time, the first at 0.

    Raises `ConfigurationError` that names the line.
    """
    rows = csv.DictReader(lines)
    if missing := set(COLUMNS) - set(rows.fieldnames or ()):
        raise ConfigurationError(f"the trace lacks the column {', '.join(sorted(missing))}")
    arrivals = sorted(_arrival(row, rows.line_num) for row in rows)
    return [arrival._replace(at=arrival.at - arrivals[0].at) for arrival in arrivals]


def at_rate(arrivals: list[Arrival], rate: float) -> list[Arrival]:
    """The same gaps, all stretched or shrunk alike, for `rate` a second in the mean."""
    if len(arrivals) < 2 or not arrivals[-1].at:
        return arrivals
    factor = (len(arrivals) - 1) / arrivals[-1].at / rate
    return [arrival._replace(at=arrival.at * factor) for arrival in arrivals]


def within(arrivals: Iterable[Arrival], seconds: float) -> Iterator[Arrival]:
    """Those of the first `seconds`."""
    return itertools.takewhile(lambda arrival: arrival.at < seconds, arrivals)


def _arrival(row: dict[str, str], line: int) -> Arrival:
    try:
        at, prompt, answer = (row[name] for name in COLUMNS)
        arrived_at, counts = float(at), (int(prompt), int(answer))
    except (TypeError, ValueError):
        raise ConfigurationError(f"line {line} of the trace does not hold a time in seconds and two counts") from None
    if not math.isfinite(arrived_at) or min(counts) < 0:
        raise ConfigurationError(f"line {line} of the trace holds a time that is none, or a negative count")
    return Arrival(arrived_at, *counts)
