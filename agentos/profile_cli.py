"""The command that measures batches."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agentos.all_settings import settings_of
from agentos.tasks_cli import AsJson

app = typer.Typer()


@app.command()
def profile(
    *,
    config: Annotated[Path | None, typer.Option("--config", metavar="FILE", help="Settings in TOML.")] = None,
    body: Annotated[
        Path | None, typer.Option(metavar="FILE", help="An OpenAI request; default: a small chat.")
    ] = None,
    sizes: Annotated[str, typer.Option(help="Of batches.")] = "1,2,4,8,16,32",
    rounds: Annotated[int, typer.Option(min=1, help="Batches of each size; one more warms up.")] = 10,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the profile there, as YAML.")] = None,
    as_json: AsJson = False,
) -> None:
    """Measure what a worker's batches take, by their size (settings: those of `agentos worker`, without a broker)."""
    from agentos.profile import ProfileSettings
    from agentos.profile_run import run_profile

    settings = settings_of(ProfileSettings, config)
    raise typer.Exit(run_profile(settings, body=body, sizes=sizes, rounds=rounds, out=out, as_json=as_json))
