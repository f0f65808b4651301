"""`agentos users`: who shares the fleet, and in which parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import msgspec
import typer

from agentos.printing import print_json, print_table
from agentos.tasks_cli import AsJson, Url, gateway_of

if TYPE_CHECKING:
    from workload.client import Client

app = typer.Typer()


@app.command()
def users(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="A user.", show_default=False)] = None,
    *,
    weight: Annotated[
        float | None, typer.Option(help="Its part of the fleet beside others', for tasks from now on; 1 at first.")
    ] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List users and their weights, or set one's weight."""
    from agentos.on_gateway import on_gateway

    if (name is None) != (weight is None):
        raise typer.BadParameter("a weight is set with NAME and --weight; without both, users are listed")

    async def action(client: Client) -> list[dict[str, Any]]:
        if name is not None:
            body = msgspec.json.encode({"weight": weight})
            await client.door.ask("PUT", f"/v1/users/{quote(name, safe='')}", body)
        listed = (await client.door.ask("GET", "/v1/users")).json()["data"]
        return [user for user in listed if name in (None, user["name"])]

    found = on_gateway(gateway_of(url), action)
    if as_json:
        print_json(found)
    else:
        print_table(("USER", "WEIGHT"), [(user["name"] or "-", f"{user['weight']:g}") for user in found])
