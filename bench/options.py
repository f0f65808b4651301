"""Options that the benchmarks share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bench.stage import BusName

MOST = 2000


class Which(StrEnum):
    """Which bus."""

    pulsar = "pulsar"
    postgres = "postgres"
    both = "both"

    def buses(self) -> list[BusName]:
        """One after the other."""
        return (
            ["pulsar", "postgres"] if self is Which.both else ["postgres"] if self is Which.postgres else ["pulsar"]
        )


class One(StrEnum):
    """One of the buses."""

    pulsar = "pulsar"
    postgres = "postgres"


OneBus = Annotated[One, typer.Option("--bus", help="The broker; Pulsar is found as by `agentos up --pulsar`.")]
Bus = Annotated[Which, typer.Option(help="The broker; Pulsar is found as by `agentos up --pulsar`.")]
Json = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write here, not to bench/results/.")]


def numbers(text: str, option: str, *, most: int = MOST) -> list[int]:
    """Those that `option` names, separated by commas. Raises `typer.BadParameter`."""
    found = [int(each) if each.strip().isdecimal() else 0 for each in text.split(",")]
    if not all(1 <= each <= most for each in found):
        raise typer.BadParameter(f"numbers from 1 to {most:,}, separated by commas", param_hint=option)
    return found


def decimals(text: str, option: str) -> list[float]:
    """Numbers above 0 that `option` names, separated by commas. Raises `typer.BadParameter`."""
    try:
        found = [float(each) for each in text.split(",")]
    except ValueError:
        found = [0.0]
    if not all(0 < each <= MOST for each in found):
        raise typer.BadParameter(f"numbers above 0, at most {MOST:,}, separated by commas", param_hint=option)
    return found
