"""The desks of all stages that there are, by model: made as pipelines come, and anew when theirs has changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from coordinator.pipelines.desk import Desk
from policy.slo.outlook import outlook
from policy.slo.pipeline import Pipeline, Stage

# What is expected of the later stages is reckoned anew so often, in seconds: not for each request.
OUTLOOK_SECONDS = 0.05


class Desks:
    """One coordinator's. `clock`: Unix seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._desks: dict[str, Desk] = {}
        self._outlooks: dict[str, tuple[float, Mapping[str, tuple[float, float]]]] = {}

    def set(self, stages: Mapping[str, tuple[Pipeline, Stage]]) -> set[str]:
        """These are the stages now, by model. The models whose desk is another than before, or no more."""
        stay = {
            model: desk
            for model, desk in self._desks.items()
            if model in stages and stages[model] == (desk.pipeline, desk.stage)
        }
        changed = (self._desks.keys() | stages.keys()) - stay.keys()
        made = {model: Desk(*stages[model], self._clock, self._later) for model in stages if model not in stay}
        self._desks = stay | made
        self._outlooks.clear()
        return changed

    def get(self, model: str) -> Desk | None:
        """The desk of the stage with this model."""
        return self._desks.get(model)

    def of(self, pipeline: Pipeline) -> dict[str, Desk]:
        """Those of a pipeline, by stage."""
        return {stage.id: self._desks[stage.model] for stage in pipeline.stages}

    def admits(self, pipeline: Pipeline, deadline: float) -> bool:
        """Whether a request that comes now can make it, as far as the first stages tell."""
        return all(self._desks[stage.model].admits(deadline) for stage in pipeline.stages if not stage.after)

    def _later(self, pipeline: Pipeline, stage: Stage) -> tuple[float, float]:
        now = self._clock()
        at, found = self._outlooks.get(pipeline.name, (0.0, {}))
        if now - at > OUTLOOK_SECONDS:
            watches = {name: desk.watch for name, desk in self.of(pipeline).items()}
            found = outlook(pipeline, watches, now)
            self._outlooks[pipeline.name] = (now, found)
        return found[stage.id]
