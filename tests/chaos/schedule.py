"""What goes wrong, and when: a schedule that follows from its seed. Pure."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Literal, NamedTuple

Kind = Literal["kill", "stop"]

# Between two mishaps, in the mean.
GAP_SECONDS = 2.5
# Longer than any lease in the fleet: what stands still for so long has been given up by the others.
LONGEST_STOP_SECONDS = 25.0


class Mishap(NamedTuple):
    """SIGKILL of a victim, which is started again `seconds` later, or SIGSTOP and SIGCONT so much later.

    `at`: seconds since the beginning.
    """

    at: float
    victim: str
    kind: Kind
    seconds: float


def schedule(seed: int, seconds: float, victims: Mapping[str, float]) -> list[Mishap]:
    """Mishaps for so long. `victims`: how often each is hit, beside the others; each is hit once at the beginning,
    and never while it still suffers.
    """
    rng = random.Random(seed)
    longest_stop = min(LONGEST_STOP_SECONDS, seconds / 3)
    first = rng.sample(sorted(victims), len(victims))
    well_at = dict.fromkeys(victims, 0.0)
    mishaps: list[Mishap] = []
    at = 0.0
    while (at := at + rng.expovariate(1 / GAP_SECONDS)) < seconds:
        well = [name for name in sorted(victims) if well_at[name] <= at]
        if not well:
            continue
        victim = (
            first.pop() if first and first[-1] in well else rng.choices(well, [victims[each] for each in well])[0]
        )
        kind: Kind = rng.choice(("kill", "kill", "stop"))
        lasts = rng.uniform(0, 2) if kind == "kill" else rng.uniform(0.5, 1) * rng.choice((2.0, longest_stop))
        well_at[victim] = at + lasts
        mishaps.append(Mishap(at, victim, kind, lasts))
    return mishaps
