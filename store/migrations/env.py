"""Alembic runs this: the caller hands over a connection in a transaction (store/migrate.py)."""

from __future__ import annotations

from alembic import context

from store.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
