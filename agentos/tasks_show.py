"""What `agentos submit`, `tasks`, `task` and `cancel` do and print."""

from __future__ import annotations

import sys
from contextlib import aclosing
from pathlib import Path
from typing import Any

import msgspec
import typer

from agentos.graph_files import read_graph
from agentos.on_gateway import EXIT_FAILED, EXIT_INTERRUPTED, on_gateway
from agentos.printing import print_json, print_table, time_text
from workload.client import Client, Task, watched
from workload.events import Event

Object = dict[str, Any]


def run_submit(url: str, file: Path, *, watch: bool, outputs: bool, key: str | None, as_json: bool) -> int:
    """Returns the exit code, as all do: with `watch` or `outputs`, 1 where the task does not complete.

    Raises `ConfigurationError`, `GatewayRefused`, `GatewayUnavailable`.
    """
    graph = read_graph(file)
    submitted: list[str] = []

    async def action(client: Client) -> int:
        task = await client.submit(graph, key=key)
        submitted.append(task.id)
        if not (watch or outputs):
            typer.echo(msgspec.json.encode({"id": task.id}) if as_json else task.id)
            return 0
        ended = await _watch(task, show=watch, as_json=as_json)
        await _show(task, ended, outputs=outputs, as_json=as_json)
        return 0 if ended["status"] == "completed" else EXIT_FAILED

    try:
        return on_gateway(url, action)
    except KeyboardInterrupt:
        told = (
            f"{submitted[0]} goes on: agentos task|cancel {submitted[0]}" if submitted else "nothing is known of it"
        )
        typer.echo(f"interrupted: {told}", err=True)
        return EXIT_INTERRUPTED


def run_tasks(url: str, *, user: str, status: str, limit: int, as_json: bool) -> int:
    """The newest first."""
    found = on_gateway(url, lambda client: client.tasks(user=user, status=status, limit=limit))
    if as_json:
        print_json(found)
    elif found:
        print_table(("ID", "STATUS", "NODES", "USER", "CREATED"), map(_task_row, found))
    else:
        typer.echo("no tasks")
    return 0


def run_task(url: str, id: str, *, outputs: bool, as_json: bool) -> int:
    """One, with its nodes."""

    async def action(client: Client) -> int:
        task = client.task(id)
        await _show(task, await task.look(), outputs=outputs, as_json=as_json)
        return 0

    return on_gateway(url, action)


def run_cancel(url: str, id: str, *, as_json: bool) -> int:
    """1 where it had ended before."""
    task = on_gateway(url, lambda client: client.task(id).cancel())
    if as_json:
        print_json(task)
    else:
        typer.echo(f"{task['id']} is {task['status']}")
    return 0 if task["status"] == "cancelled" else EXIT_FAILED


async def _watch(task: Task, *, show: bool, as_json: bool) -> Object:
    """Until its end. A line for each event, where no bar shows them."""
    lines = show and (as_json or not sys.stderr.isatty())
    async with aclosing(watched(task)) as events:
        async for event in events:
            if lines:
                typer.echo(msgspec.json.encode(event) if as_json else _event_line(event))
    return await task.look()


async def _show(task: Task, told: Object, *, outputs: bool, as_json: bool) -> None:
    texts = await task.outputs(told) if outputs else {}
    if as_json:
        print_json(told | ({"outputs": texts} if outputs else {}))
        return
    typer.echo(f"{told['id']} is {told['status']}, {told['usage']['total_tokens']} tokens")
    if error := told.get("error"):
        typer.echo(f"error: {_error_text(error)}")
    print_table(("NODE", "MODEL", "STATUS", "ATTEMPTS", "ERROR"), map(_node_row, told["nodes"]))
    for node, text in texts.items():
        typer.echo(f"\n{node}:\n{text if isinstance(text, str) else (chr(10) * 2).join(text)}")


def _task_row(task: Object) -> tuple[str, ...]:
    nodes = f"{task['progress'].get('completed', 0)}/{task['progress']['total']}"
    return task["id"], task["status"], nodes, task["user"] or "-", time_text(task["created_at"])


def _node_row(node: Object) -> tuple[str, ...]:
    error = _error_text(node["error"]) if node.get("error") else ""
    return node["id"], node["model"], node["status"], str(node["attempts"]), error


def _event_line(event: Event) -> str:
    return " ".join(filter(None, [event.name, event.node, _error_text(event.error) if event.error else ""]))


def _error_text(error: Object) -> str:
    return " ".join(filter(None, [str(error.get("code") or ""), str(error.get("message") or "")]))
