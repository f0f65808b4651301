"""The store: all of its parts on one pool of connections."""

from __future__ import annotations

from typing import Self

from store.database import Database
from store.dispatching import Dispatching
from store.fold import Fold
from store.graphs import Graphs
from store.models import Models
from store.outbox import Outbox
from store.ownership import Ownership
from store.pipelines import Pipelines
from store.pool import Pool
from store.reading import Reading


class Store(Database, Outbox, Fold, Models, Graphs, Dispatching, Ownership, Reading, Pipelines):
    """A connection to the store. Every method raises `StoreUnavailable` where Postgres cannot be reached."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    @classmethod
    async def connect(cls, url: str, *, pool_size: int = 8) -> Self:
        """Connects to a database that `store.migrate.upgrade` has made. `url`: postgresql://…, as libpq reads it.

        Raises `StoreUnavailable`; `ConfigurationError` if user, password or database are wrong.
        """
        store = cls(Pool(url, pool_size))
        try:
            await store.check()
        except BaseException:
            await store.close()
            raise
        return store

    async def close(self) -> None:
        """Closes every connection. A second close does nothing."""
        await self._pool.close()

    async def check(self) -> None:
        """Returns if Postgres answers; raises `StoreUnavailable` if not."""
        await self._pool.fetch("select 1")
