"""Questions to the store of a stage, straight to its tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2

from bench.stage import Stage


@contextmanager
def database(on: Stage) -> Iterator[Callable[..., Any]]:
    """A function that runs a statement, with its parameters, and gives the first value of its first row, if any."""
    connection = psycopg2.connect(on.database)
    connection.autocommit = True

    def ask(statement: str, *given: object) -> Any:
        with connection.cursor() as cursor:
            cursor.execute(statement, given or None)
            row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None

    try:
        yield ask
    finally:
        connection.close()
