"""`agentos pipelines`: put there, listed, shown, taken away (docs/pipelines.md)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agentos.tasks_cli import AsJson, Url, gateway_of

app = typer.Typer(help="Pipelines of models under an SLO.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="A pipeline's name.")]


@app.command()
def apply(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A pipeline in YAML or JSON; - reads standard input.")],
    *,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Put a pipeline at the gateway, new or changed."""
    from agentos.pipelines_show import run_apply

    run_apply(gateway_of(url), file, as_json=as_json)


@app.command("list")
def list_(*, url: Url = None, as_json: AsJson = False) -> None:
    """List pipelines."""
    from agentos.pipelines_show import run_list

    run_list(gateway_of(url), as_json=as_json)


@app.command()
def show(name: Name, *, url: Url = None, as_json: AsJson = False) -> None:
    """Show a pipeline, and how its stages are now."""
    from agentos.pipelines_show import run_show

    run_show(gateway_of(url), name, as_json=as_json)


@app.command()
def delete(name: Name, *, url: Url = None, as_json: AsJson = False) -> None:
    """Take a pipeline away; requests that are in it are carried on."""
    from agentos.pipelines_show import run_delete

    run_delete(gateway_of(url), name, as_json=as_json)
