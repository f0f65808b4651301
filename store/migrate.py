"""Makes or updates the tables. Synchronous: it runs before anything else does."""

from __future__ import annotations

from pathlib import Path

import psycopg2
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from core.errors import StoreUnavailable

MIGRATIONS = Path(__file__).parent / "migrations"
# Two processes that start together must not both migrate.
LOCK = 0x4167656E744F53


def configuration() -> Config:
    """Alembic's configuration, without a file."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config


def upgrade(url: str) -> None:
    """Brings the database to the newest version; does nothing if it is there. Raises `StoreUnavailable`."""
    config = configuration()
    engine = create_engine("postgresql+psycopg2://", creator=lambda: psycopg2.connect(url), poolclass=NullPool)
    try:
        with engine.begin() as connection:
            connection.exec_driver_sql(f"select pg_advisory_xact_lock({LOCK})")
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except OperationalError as error:
        raise StoreUnavailable(f"Postgres cannot be reached: {error.orig}") from error
