"""The command line: thin mains. Settings come from options, then the environment, then a file."""

from __future__ import annotations

import sys
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Annotated

import typer

from agentos import pipelines_cli, profile_cli, simulate_cli, tasks_cli, users_cli
from agentos.all_settings import settings_of
from agentos.up_settings import UpSettings, state_directory
from coordinator.operator.settings import OperatorSettings
from coordinator.settings import CoordinatorSettings
from core.errors import AgentOSError, ConfigurationError
from workernode.settings import WorkerSettings

EXIT_FAILED = 1
EXIT_CONFIGURATION = 2

app = typer.Typer(
    name="agentos",
    help="Durable LLM work on a fleet: gateway, coordinator, WorkerNodes.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
db = typer.Typer(help="The store's database.", no_args_is_help=True)
app.add_typer(db, name="db")
dlq = typer.Typer(
    help="Dead letters: messages that were given up (PULSAR_URL or AGENTOS_BUS_URL).", no_args_is_help=True
)
app.add_typer(dlq, name="dlq")
app.add_typer(tasks_cli.app)
app.add_typer(users_cli.app)
app.add_typer(simulate_cli.app)
app.add_typer(profile_cli.app)
app.add_typer(pipelines_cli.app, name="pipelines")

Config = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="Settings in TOML.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
StateDir = Annotated[Path | None, typer.Option("--state-dir", metavar="DIR", help="Data, logs and locks.")]

LettersOf = Annotated[str, typer.Argument(metavar="MODEL", help="A model's name, or res-topic for results.")]
LetterIds = Annotated[list[str] | None, typer.Argument(metavar="[ID...]", help="As `dlq show` prints them.")]
AllLetters = Annotated[bool, typer.Option("--all", help="Every letter that is there now.")]


@app.command()
def up(
    *,
    config: Config = None,
    pulsar: Annotated[bool | None, typer.Option("--pulsar", help="On Apache Pulsar.")] = None,
    port: Annotated[int | None, typer.Option(help="Port of the gateway; default 8081, 0: any free one.")] = None,
    model_file: Annotated[str | None, typer.Option(metavar="FILE", help="GGUF or llamafile to serve.")] = None,
    local: Annotated[bool | None, typer.Option("--local/--no-local", help="The local worker.")] = None,
    mock: Annotated[bool | None, typer.Option("--mock/--no-mock", help="The mock worker.")] = None,
    pipeline: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="A pipeline to serve; may be given again.")
    ] = None,
    state_dir: StateDir = None,
    as_json: AsJson = False,
) -> None:
    """Start everything on this machine; Ctrl-C stops it."""
    from agentos.up import run_up

    settings = settings_of(
        UpSettings,
        config,
        pulsar=pulsar,
        port=port,
        model_file=model_file,
        local=local,
        mock=mock,
        pipelines=",".join(map(str, pipeline)) if pipeline else None,
        state_dir=state_dir,
    )
    raise typer.Exit(run_up(settings, config=config, as_json=as_json))


@app.command()
def worker(*, config: Config = None) -> None:
    """Run a WorkerNode: one process, one model (NODE_TYPE, MODEL_NAME, …)."""
    from workernode.main import cannot_start
    from workernode.main import main as run_worker

    try:
        settings = settings_of(WorkerSettings, config)
    except ConfigurationError as error:
        cannot_start(error)
        raise
    raise typer.Exit(run_worker(settings))


@app.command()
def coordinator(*, config: Config = None) -> None:
    """Run a coordinator: gateway, relay and fold."""
    from coordinator.main import main as run_coordinator

    raise typer.Exit(run_coordinator(settings_of(CoordinatorSettings, config)))


@app.command()
def operator(*, config: Config = None) -> None:
    """Run an operator of AIModels on Kubernetes; of many that run, one leads."""
    from coordinator.operator.main import main as run_operator

    raise typer.Exit(run_operator(settings_of(OperatorSettings, config)))


@app.command()
def scaler(
    *,
    config: Config = None,
    pipeline: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="A pipeline to scale; may be given again.")
    ] = None,
    url: tasks_cli.Url = None,
) -> None:
    """Scale pipelines on Kubernetes as the planner orders; without files, all those of the gateway."""
    from agentos.scaler import run_scaler
    from agentos.site import read_pipelines

    settings = settings_of(UpSettings, config)
    raise typer.Exit(run_scaler(settings, read_pipelines(pipeline or []), tasks_cli.gateway_of(url)))


@app.command()
def cleanup(
    *,
    config: Config = None,
    state_dir: StateDir = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be ended; end nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """End what earlier runs have left, and nothing else."""
    from agentos.cleanup import run_cleanup

    settings = settings_of(UpSettings, config, state_dir=state_dir)
    raise typer.Exit(run_cleanup(state_directory(settings), dry_run=dry_run, as_json=as_json))


@db.command("upgrade")
def db_upgrade(*, config: Config = None) -> None:
    """Bring the store's tables to this version (AGENTOS_DATABASE_URL)."""
    from store.migrate import upgrade

    settings = settings_of(UpSettings, config)
    url = settings.database_url.get_secret_value()
    if not url:
        raise ConfigurationError("AGENTOS_DATABASE_URL: is missing; postgresql://user:password@host/database")
    upgrade(url)
    typer.echo("the database is up to date")


@dlq.command("list")
def dlq_list(*, config: Config = None, as_json: AsJson = False) -> None:
    """What has dead letters, how many, and since when."""
    from agentos.dlq_show import run_list

    raise typer.Exit(run_list(settings_of(UpSettings, config), as_json=as_json))


@dlq.command("show")
def dlq_show(
    model: LettersOf,
    *,
    config: Config = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many, the oldest first.")] = 20,
    body: Annotated[bool, typer.Option("--body", help="The bodies too: they hold prompts.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show dead letters; they stay."""
    from agentos.dlq_show import run_show

    settings = settings_of(UpSettings, config)
    raise typer.Exit(run_show(settings, model, limit=limit, body=body, as_json=as_json))


@dlq.command("replay")
def dlq_replay(
    model: LettersOf, ids: LetterIds = None, *, config: Config = None, everything: AllLetters = False
) -> None:
    """Publish dead letters again, as new messages. Interrupted, it loses none; the last ones may come twice."""
    from agentos.dlq_show import run_replay

    raise typer.Exit(run_replay(settings_of(UpSettings, config), model, ids or [], everything=everything))


@dlq.command("drop")
def dlq_drop(
    model: LettersOf,
    ids: LetterIds = None,
    *,
    config: Config = None,
    everything: AllLetters = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Forget dead letters for good."""
    from agentos.dlq_show import run_drop

    settings = settings_of(UpSettings, config)
    raise typer.Exit(run_drop(settings, model, ids or [], everything=everything, yes=yes))


@app.command()
def version(*, as_json: AsJson = False) -> None:
    """Print the version."""
    number = installed_version("agentos")
    typer.echo(f'{{"version": "{number}"}}' if as_json else f"agentos {number}")


def main() -> None:
    """The command. Errors by name go to standard error in one line; exit code 2 where a setting is wrong."""
    try:
        app()
    except ConfigurationError as error:
        typer.echo(f"agentos: {error}", err=True)
        sys.exit(EXIT_CONFIGURATION)
    except AgentOSError as error:
        typer.echo(f"agentos: {error}", err=True)
        sys.exit(EXIT_FAILED)
