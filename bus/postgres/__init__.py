"""The embedded default: a bus on Postgres."""

from bus.postgres.adapter import PostgresBus

__all__ = ["PostgresBus"]
