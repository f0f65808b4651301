"""The pipelines that there are, as the store has them: looked up every second, and when one was put here."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from types import MappingProxyType

import msgspec

from coordinator.graph.description import DescriptionRefused
from coordinator.pipelines.template import Template, encode, template_of
from core.errors import StoreUnavailable
from core.liveness import Beat
from policy.slo.pipeline import Pipeline, Stage
from store import Store

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0


class Registry:
    """One coordinator's. `changed` is called when a pipeline has come, gone or changed."""

    def __init__(self, store: Store, changed: Callable[[], None]) -> None:
        self._store = store
        self._changed = changed
        self._texts: dict[str, str] = {}
        self._templates: dict[str, Template] = {}
        self._stages: dict[str, tuple[Pipeline, Stage]] = {}

    def pipelines(self) -> Mapping[str, Pipeline]:
        """By name."""
        return {name: template.pipeline for name, template in self._templates.items()}

    def stages(self) -> Mapping[str, tuple[Pipeline, Stage]]:
        """Every stage with its pipeline, by model."""
        return MappingProxyType(self._stages)

    def template(self, name: str) -> Template | None:
        """None where there is no such pipeline, as far as is known here."""
        return self._templates.get(name)

    async def put(self, template: Template) -> None:
        """Keeps a pipeline, new or changed. Raises `ModelInUse`, `StoreUnavailable`."""
        pipeline = template.pipeline
        await self._store.put_pipeline(pipeline.name, encode(template), [stage.model for stage in pipeline.stages])
        await self.look()

    async def drop(self, name: str) -> None:
        """Forgets a pipeline. Raises `NotFound`, `StoreUnavailable`."""
        await self._store.drop_pipeline(name)
        await self.look()

    async def look(self) -> None:
        """Takes what the store has. Raises `StoreUnavailable`."""
        texts = {row.name: row.description for row in await self._store.pipelines()}
        if texts == self._texts:
            return
        same = {name for name in self._templates if texts.get(name) == self._texts[name]}
        read = {name: self._templates[name] if name in same else _read(name, text) for name, text in texts.items()}
        self._templates = {name: template for name, template in read.items() if template is not None}
        self._texts = texts
        self._stages = {
            stage.model: (template.pipeline, stage)
            for template in self._templates.values()
            for stage in template.pipeline.stages
        }
        self._changed()

    async def keep(self, beat: Beat) -> None:
        """Looks, for ever."""
        while True:
            beat.beat()
            try:
                await self.look()
            except StoreUnavailable as error:
                log.warning("pipelines are as they were: %s", error)
            await asyncio.sleep(LOOK_SECONDS)


def _read(name: str, text: str) -> Template | None:
    try:
        return template_of(text)
    except (DescriptionRefused, msgspec.DecodeError) as error:
        log.warning("the pipeline %s was kept by another version and is none here: %s", name, error)
        return None
