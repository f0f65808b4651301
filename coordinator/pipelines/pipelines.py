"""The pipelines at this coordinator: what they are, what waits before their stages, what became of their requests."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from coordinator.graph.graph import Graph
from coordinator.metrics import pipeline_ended, pipeline_offered
from coordinator.models import Models
from coordinator.pipelines.desks import Desks
from coordinator.pipelines.figures import Figures
from coordinator.pipelines.registry import Registry
from policy.slo.pipeline import Pipeline
from policy.window import Fleet
from store import Store


class Pipelines:
    """One coordinator's. `changed` hears of models whose stage is another now; `offered` hears of each request: the
    name of its pipeline.
    """

    def __init__(
        self,
        store: Store,
        models: Models,
        *,
        changed: Callable[[set[str]], None],
        offered: Callable[[str], None],
    ) -> None:
        self._models = models
        self.registry = Registry(store, self._restage)
        self.desks = Desks(time.time)
        self._changed = changed
        self._tell_offered = offered
        self._figures: defaultdict[str, Figures] = defaultdict(Figures)

    def admits(self, pipeline: Pipeline, slo_seconds: float) -> bool:
        """Whether a request that comes now can make its deadline, as far as is known."""
        return pipeline.policy == "none" or self.desks.admits(pipeline, time.time() + slo_seconds)

    def came(self, pipeline: Pipeline, *, refused: bool) -> None:
        """A request has come, and was taken in or refused."""
        figures = self._figures[pipeline.name]
        figures.offered += 1
        self._tell_offered(pipeline.name)
        pipeline_offered(pipeline.name)
        if refused:
            figures.refused += 1
            pipeline_ended(pipeline.name, "refused")

    def end(self, graph: Graph, came_at: float) -> None:
        """A task has ended that came at that Unix time; whatever is no pipeline's does not count here."""
        request = graph.description.pipeline
        if request is not None:
            how = self._figures[request.name].end(request, graph, time.time() - came_at)
            pipeline_ended(request.name, how)

    def waiting(self) -> dict[str, dict[str, int]]:
        """The requests that are there and not done, by pipeline and stage."""
        return {
            name: {stage: len(desk) + desk.outstanding for stage, desk in self.desks.of(pipeline).items()}
            for name, pipeline in self.registry.pipelines().items()
        }

    def told(self, pipeline: Pipeline) -> dict[str, Any]:
        """The figures of a pipeline."""
        desks, fleets = self.desks.of(pipeline), self._models.fleets()
        for desk in desks.values():
            desk.man(fleets.get(desk.stage.model, Fleet()))
        uses = {name: self._models.batches(desk.stage.model) for name, desk in desks.items()}
        return self._figures[pipeline.name].told(desks, uses, time.time())

    def _restage(self) -> None:
        changed = self.desks.set(self.registry.stages())
        if changed:
            self._changed(changed)
