"""Which models workers have served, so that a model without a worker just now is still known."""

from __future__ import annotations

from collections.abc import Sequence

from store.pool import Pool
from store.records import KnownModel

# Ordered, so that two gateways cannot wait for each other's rows.
SAW = """
insert into models (name, node_type)
select distinct on (name) name, node_type from unnest($1::text[], $2::text[]) as seen(name, node_type) order by name
on conflict (name) do update set node_type = excluded.node_type, last_seen = now()
"""

KNOWN = "select name, node_type, first_seen, last_seen from models order by name"


class Models:
    """Part of the `Store`."""

    _pool: Pool

    async def saw_models(self, models: Sequence[tuple[str, str]]) -> None:
        """Remembers (name, node type) of models that are served now."""
        await self._pool.fetch(SAW, [name for name, _ in models], [node_type for _, node_type in models])

    async def known_models(self) -> list[KnownModel]:
        """Every model ever seen, by name."""
        return [KnownModel(*row) for row in await self._pool.fetch(KNOWN)]
