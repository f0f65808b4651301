"""Pipelines: their descriptions, by name. A model is a stage of one pipeline at most."""

from __future__ import annotations

from collections.abc import Sequence

from core.errors import ModelInUse, NotFound
from store.pool import Pool
from store.records import PipelineRow

# Whose model it already is, or the pipeline and its models as they are to be. Two at once that want the same model:
# the second fails on the table's key.
PUT = """
with wanted as (select unnest($3::text[]) as model),
taken as (select model, pipeline from pipeline_models join wanted using (model) where pipeline <> $1 limit 1),
kept as (
    insert into pipelines (name, description) select $1, $2 where not exists (select from taken)
    on conflict (name) do update set description = excluded.description, updated_at = now()
    returning name
),
gone as (
    delete from pipeline_models using kept where pipeline = $1 and model <> all($3::text[])
),
added as (
    insert into pipeline_models (model, pipeline) select model, name from wanted, kept
    where model not in (select model from pipeline_models where pipeline = $1)
)
select model, pipeline from taken
"""

ALL = "select name, description, extract(epoch from updated_at)::float8 from pipelines order by name"

DROP = "delete from pipelines where name = $1 returning name"


class Pipelines:
    """Part of the `Store`."""

    _pool: Pool

    async def put_pipeline(self, name: str, description: str, models: Sequence[str]) -> None:
        """Keeps a pipeline, new or changed, with the models of its stages. Raises `ModelInUse`."""
        for row in await self._pool.fetch(PUT, name, description, list(models)):
            raise ModelInUse(row[0], row[1])

    async def pipelines(self) -> list[PipelineRow]:
        """Every pipeline, by name."""
        return [PipelineRow(*row) for row in await self._pool.fetch(ALL)]

    async def drop_pipeline(self, name: str) -> None:
        """Forgets a pipeline; its tasks go on. Raises `NotFound`."""
        if not await self._pool.fetch(DROP, name):
            raise NotFound(f"pipeline {name}")
