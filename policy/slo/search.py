"""One choice for each stage, so that the longest way through all is short enough, at the least cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from policy.slo.choices import Choice
from policy.slo.pipeline import Pipeline

# Branches that are looked at; what is best by then is taken. Enough to be exact for pipelines of a few stages.
LOOKS = 20_000

Chosen = dict[str, Choice]


def around(pipeline: Pipeline, chosen: Mapping[str, Choice]) -> dict[str, float]:
    """By stage: seconds of the longest way through it, its own left out."""
    later = pipeline.longest(lambda stage: chosen[stage.id].seconds)
    begins: dict[str, float] = {}
    for stage in pipeline.stages:
        begins[stage.id] = max((begins[before] + chosen[before].seconds for before in stage.after), default=0.0)
    return {stage: begin + later[stage] for stage, begin in begins.items()}


def through(pipeline: Pipeline, chosen: Mapping[str, Choice]) -> float:
    """Seconds of the longest way."""
    return max(way + chosen[stage].seconds for stage, way in around(pipeline, chosen).items())


def cheapest(pipeline: Pipeline, choices: Mapping[str, Sequence[Choice]]) -> Chosen | None:
    """Of equal costs the fastest; None if nothing is fast enough. `choices` by stage, as `policy.slo.choices` makes
    them, at least one each.

    A good answer by steps from the fastest, each of which saves most for the time that it takes; then branch and
    bound looks for a better one.
    """
    fastest = {stage: found[-1] for stage, found in choices.items()}
    if through(pipeline, fastest) > pipeline.slo_seconds:
        return None
    search = _Search(pipeline, choices, _by_steps(pipeline, choices))
    search.look(0, 0.0)
    return search.best


def _by_steps(pipeline: Pipeline, choices: Mapping[str, Sequence[Choice]]) -> Chosen:
    at = {stage: len(found) - 1 for stage, found in choices.items()}
    chosen = {stage: choices[stage][number] for stage, number in at.items()}
    while True:
        ways = around(pipeline, chosen)
        steps = []
        for stage, number in at.items():
            now, then = choices[stage][number], choices[stage][number - 1]
            if number and ways[stage] + then.seconds <= pipeline.slo_seconds:
                steps.append(((now.cost - then.cost) / (then.seconds - now.seconds), stage))
        if not steps:
            return chosen
        stage = max(steps)[1]
        at[stage] -= 1
        chosen[stage] = choices[stage][at[stage]]


class _Search:
    """Depth first through the stages, cheap choices first; what cannot become better than the best is left."""

    def __init__(self, pipeline: Pipeline, choices: Mapping[str, Sequence[Choice]], first: Chosen) -> None:
        self._pipeline = pipeline
        self._choices = [choices[stage.id] for stage in pipeline.stages]
        later = pipeline.longest(lambda stage: choices[stage.id][-1].seconds)
        self._later = [later[stage.id] for stage in pipeline.stages]
        self._least = [sum(found[0].cost for found in self._choices[at:]) for at in range(len(self._choices) + 1)]
        self._looks = LOOKS
        self._chosen: Chosen = {}
        self._ends: dict[str, float] = {}
        self.best = first
        self._rank = (sum(each.cost for each in first.values()), through(pipeline, first))

    def look(self, at: int, cost: float, longest: float = 0.0) -> None:
        """`cost`: of the stages before `at`; `longest`: the way through them and what comes after, at the fastest."""
        if at == len(self._choices):
            self._rank, self.best = (cost, longest), dict(self._chosen)
            return
        stage = self._pipeline.stages[at]
        begin = max((self._ends[before] for before in stage.after), default=0.0)
        for choice in self._choices[at]:
            self._looks -= 1
            if self._looks < 0 or cost + choice.cost + self._least[at + 1] > self._rank[0]:
                return
            end = begin + choice.seconds
            reach = max(longest, end + self._later[at])
            if reach > self._pipeline.slo_seconds or (cost + choice.cost + self._least[at + 1], reach) >= self._rank:
                continue
            self._chosen[stage.id], self._ends[stage.id] = choice, end
            self.look(at + 1, cost + choice.cost, reach)
