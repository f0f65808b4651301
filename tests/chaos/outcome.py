"""What the store holds in the end, beside what was asked for."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg

from tests.chaos.books import LedgerRow
from tests.chaos.graphs import Planned

TASKS = "select task_id, state, summary, idempotency_key from tasks where state is not null"
NODES = """
select progress.task_id, node_id, doc_content, dispatches.task_id is not null as dispatched
from progress left join dispatches using (task_id, node_id) left join documents using (doc_id)
"""
LEDGER = "select event_id, request_id, outcome from ledger"
OPEN = "select count(*) from tasks where state = 'open'"
OUTBOX = "select count(*) from outbox"

# No connection, or one that ends, or a server that starts or stops.
AWAY = (
    *(OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.PostgresConnectionError),
    *(asyncpg.OperatorInterventionError, asyncpg.InternalClientError),
)


async def rows(url: str, query: str) -> list[asyncpg.Record]:
    """Of the store."""
    connection = await asyncpg.connect(url, timeout=5, command_timeout=30)
    try:
        return list(await connection.fetch(query))
    finally:
        await connection.close(timeout=5)


async def count(url: str, query: str) -> int | None:
    """What a query counts; None while the store is away."""
    try:
        return int((await rows(url, query))[0][0])
    except AWAY:
        return None


async def ledger_of(url: str) -> list[LedgerRow]:
    """All of it."""
    return [LedgerRow(*row) for row in await rows(url, LEDGER)]


async def check(url: str, planned: Sequence[Planned], taken: Mapping[int, str]) -> tuple[Counter[str], list[str]]:
    """How many tasks ended how, and what is wrong with them."""
    nodes: dict[int, dict[str, Any]] = {}
    for task_id, node_id, response, dispatched in await rows(url, NODES):
        nodes.setdefault(task_id, {})[node_id] = (_text_of(response), dispatched)
    ends: Counter[str] = Counter()
    errors: list[str] = []
    tasks = {key: rest for *rest, key in await rows(url, TASKS)}
    if len(tasks) != len(planned):
        errors.append(f"{len(tasks)} tasks are in the store, {len(planned)} were asked for")
    for number, each in enumerate(planned):
        if f"task-{number}" not in tasks:
            errors.append(f"task {number} is not in the store")
            continue
        task_id, state, summary = tasks[f"task-{number}"]
        if taken.get(number) != f"task_{task_id}":
            errors.append(f"task {number} is {task_id} in the store, and was told as {taken.get(number)}")
        end, wrong = _verdict(each, state, summary, nodes.get(task_id, {}))
        ends[end] += 1
        errors += [f"task {number} ({task_id}): {text}" for text in wrong]
    return ends, errors


def _verdict(planned: Planned, state: str, summary: str | None, nodes: dict[str, Any]) -> tuple[str, list[str]]:
    if state == "failed":
        code = ((json.loads(summary or "{}").get("error")) or {}).get("code")
        wrong = [] if code else [f"failed without a name: {summary}"]
        return f"failed: {code}", wrong
    if state != "completed":
        return state, [f"it is {state}"]
    if planned.says is None:
        return state, ["completed, although its graph is wrong"]
    wrong = [
        f"node {name}: {text[0]!r} is not {planned.says.get(name)!r}"
        for name, text in nodes.items()
        if text[0] is not None and text[0] != planned.says.get(name)
    ]
    wrong += [f"node {name} has no result" for name in planned.says if name not in nodes]
    wrong += [
        f"node {name} has an answer and was never dispatched"
        for name, (text, dispatched) in nodes.items()
        if text is not None and not dispatched
    ]
    return state, wrong


def _text_of(response: str | None) -> str | None:
    return None if response is None else str(json.loads(response)["choices"][0]["message"]["content"])
