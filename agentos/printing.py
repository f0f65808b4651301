"""What commands print: tables for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime

import typer


def print_json(value: object) -> None:
    """In one line."""
    typer.echo(json.dumps(value, ensure_ascii=False))


def print_table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    """In columns."""
    table = [head, *rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def time_text(seconds: float | None) -> str:
    """A Unix time."""
    return "-" if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
