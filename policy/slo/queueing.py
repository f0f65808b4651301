"""How long a batch waits for a worker: an approximation for many workers, good enough to plan with."""

from __future__ import annotations

import math

# The part of all requests that is to wait no longer than what is reckoned here.
SURE = 0.99


def wait(workers: int, busy: float, seconds: float, variability: float) -> float:
    """Seconds that all but a hundredth wait for one of `workers`, which are busy for that part of the time (below 1).

    `seconds`: of one batch. `variability`: the mean of the squared coefficients of variation of the gaps between
    batches and of their seconds.

    The chance to wait at all is rho ** (sqrt(2 (c + 1)) - 1), from H. Sakasegawa, An approximation formula
    Lq = a rho^b / (1 - rho), Ann. Inst. Statist. Math. 29 (1977); whoever waits does so for a time that is taken
    to be exponential, with a mean that grows with the variability, from J. F. C. Kingman, The single server queue in
    heavy traffic, Proc. Cambridge Phil. Soc. 57 (1961).
    """
    chance = busy ** (math.sqrt(2 * (workers + 1)) - 1)
    if chance <= 1 - SURE:
        return 0.0
    mean = variability * seconds / (workers * (1 - busy))
    return mean * math.log(chance / (1 - SURE))
