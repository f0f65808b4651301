"""What "agentos" is to gain, in short simulations that always come to the same. All of it: `python -m bench slo`."""

from __future__ import annotations

from functools import partial

import pytest

from policy.slo.pipeline import PolicyName
from tests.policy.slo.variants import BURSTINESS, VARIANTS, Load, goodput, varied

SIMPLE: list[PolicyName] = ["none", "lazy", "nexus"]
COUNT = 3000


@pytest.mark.parametrize("arrivals", BURSTINESS)
@pytest.mark.parametrize("load", [1.2, 2.0])
def test_ours_gains_a_sixth_in_a_chain_under_too_much_load(arrivals: str, load: float) -> None:
    run = partial(goodput, Load(2, BURSTINESS[arrivals], load, COUNT))
    assert run("agentos") >= 1.16 * max(map(run, SIMPLE))


@pytest.mark.parametrize("arrivals", BURSTINESS)
@pytest.mark.parametrize("stages", [1, 2])
@pytest.mark.parametrize("load", [0.8, 1.2])
def test_ours_is_nowhere_worse_than_the_best_by_more_than_a_point(arrivals: str, stages: int, load: float) -> None:
    run = partial(goodput, Load(stages, BURSTINESS[arrivals], load, COUNT))
    assert run("agentos") >= max(map(run, [*SIMPLE, "pard"])) - 0.01


def test_variants_differ() -> None:
    run = partial(goodput, Load(1, BURSTINESS["gamma, CV 13"], 1.2, 1000))
    names = ["agentos", "earliest always first", "nothing held", "start at the last moment"]
    assert len({varied(name, run) for name in names}) == len(names)
    assert set(names) < set(VARIANTS)
