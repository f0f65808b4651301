"""What `agentos synthetic` does and prints."""

from __future__ import annotations

import msgspec
import typer

from agentos.on_gateway import EXIT_INTERRUPTED, is_mock, on_gateway
from agentos.printing import print_json
from core.errors import ConfigurationError
from workload.client import Client
from workload.progress import Bar
from workload.shapes import Synthetic
from workload.synthetic import Ran, run


def run_synthetic(url: str, application: Synthetic, *, as_json: bool) -> int:
    """Raises `TaskFailed`, `BadMessage`, `ConfigurationError`, `GatewayUnavailable`."""

    async def action(client: Client) -> Ran:
        if not await is_mock(client, application.model):
            raise ConfigurationError(f"{application.model!r} is served by no mock worker, which makes the data")
        with Bar(str(application.structure)) as bar:
            return await run(client, application, lambda ended: bar.show(ended, application.tasks))

    try:
        ran = on_gateway(url, action)
    except KeyboardInterrupt:
        typer.echo("interrupted; what was submitted goes on: agentos tasks", err=True)
        return EXIT_INTERRUPTED
    if as_json:
        print_json(msgspec.to_builtins(ran))
    else:
        typer.echo(
            f"{ran.structure}: {ran.tasks:,} tasks in {ran.seconds:.2f} s, {ran.tasks_per_second:,.1f} tasks/s"
        )
    return 0
