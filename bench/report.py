"""Tables for people, JSON for programs."""

from __future__ import annotations

import datetime
import json
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from bench.stage import say

RESULTS = Path(__file__).parent / "results"


def show(text: str = "") -> None:
    """To standard output."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Markdown; the first column to the left, figures to the right."""
    cells = [list(head), *([_cell(each) for each in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]

    def line(row: Sequence[str]) -> str:
        first, *rest = (
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        return "| " + " | ".join([first, *rest]) + " |"

    rule = (
        "| " + " | ".join("-" * (width - 1) + (":" if column else "-") for column, width in enumerate(widths)) + " |"
    )
    return "\n".join([line(cells[0]), rule, *map(line, cells[1:])])


def goal(text: str, *, met: bool) -> str:
    """A goal and whether it is met."""
    return f"goal: {text}: {'met' if met else 'NOT met'}"


def write(name: str, results: dict[str, Any], file: Path | None) -> None:
    """Writes JSON to `file`, else to a new one in bench/results."""
    now = datetime.datetime.now(datetime.UTC)
    target = file or RESULTS / f"{name}-{now:%Y%m%dT%H%M%SZ}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    machine = {
        "cores": psutil.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "system": platform.platform(),
    }
    written = {"bench": name, "at": now.isoformat(timespec="seconds"), "machine": machine, **results}
    target.write_text(json.dumps(written, indent=1) + "\n")
    say(f"written to {target}")


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 100 else f"{value:.3g}" if value < 1 else f"{value:.1f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
