"""The command line of the benchmarks."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bench import fleet as fleet_bench
from bench import gateway as gateway_bench
from bench.stage import BusName
from core.errors import AgentOSError

MOST_CLIENTS = 2000

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


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


Bus = Annotated[Which, typer.Option(help="The broker; Pulsar is found as by `agentos up --pulsar`.")]
Json = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write here, not to bench/results/.")]


@app.command()
def fleet(
    *,
    bus: Bus = Which.both,
    requests: Annotated[int, typer.Option(min=1, max=1_000_000, help="Requests of a round.")] = 10_000,
    workers: Annotated[int, typer.Option(min=1, max=16, help="Worker processes.")] = 1,
    rounds: Annotated[int, typer.Option(min=1, max=20, help="Rounds; medians are printed.")] = 3,
    profile: Annotated[bool, typer.Option("--profile", help="Say what the processes' time is spent on.")] = False,
    file: Json = None,
) -> None:
    """No-op requests of 1 KiB from submit to folded row, beside a raw loop of the Pulsar client."""
    fleet_bench.run(bus.buses(), requests=requests, workers=workers, rounds=rounds, profile=profile, file=file)


@app.command()
def gateway(
    *,
    bus: Bus = Which.both,
    clients: Annotated[str, typer.Option(help="How many clients at once, separated by commas.")] = "1,64,512",
    requests: Annotated[int, typer.Option(min=1, max=1_000_000, help="Requests of a line (one client: 600).")] = 3000,
    lost: Annotated[
        int, typer.Option(min=0, max=1_000_000, help="Count the replies lost of so many; 0: do not.")
    ] = 0,
    file: Json = None,
) -> None:
    """Requests/s and added latency, plain and streamed, against the same upstream called directly."""
    gateway_bench.run(bus.buses(), clients=_numbers(clients), requests=requests, lost=lost, file=file)


def _numbers(text: str) -> list[int]:
    numbers = [int(each) if each.strip().isdecimal() else 0 for each in text.split(",")]
    if not all(1 <= each <= MOST_CLIENTS for each in numbers):
        raise typer.BadParameter(f"numbers from 1 to {MOST_CLIENTS}, separated by commas", param_hint="--clients")
    return numbers


def main() -> None:
    """Errors by name are one line and exit code 1."""
    try:
        app()
    except AgentOSError as error:
        typer.echo(f"bench: {error}", err=True)
        raise SystemExit(1) from error


if __name__ == "__main__":
    main()
