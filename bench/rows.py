"""`python -m bench rows`: nodes a second as the store fills with finished tasks.

Each number of rows is a database of its own, filled by SQL before anything is measured; the rounds go from one to the
next in turn, so that a slower quarter of an hour of the machine falls on all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from bench import report
from bench.database import database
from bench.graphrun import GraphRun, median_rate, rates_table, run_graphs
from bench.graphs import BACKEND
from bench.shapes import bag, diamond
from bench.stage import BusName, Stage, fleet, say, stage

WARM_UP = 200
WIDTH = 8
TASK_NODES = WIDTH + 2
GOAL_RATIO = 0.9
# One finished task of one node leaves a row in each of these tables, and two documents. Foreign keys are not checked
# while they are written: that would take longer than everything else.
FILL = """
set session_replication_role = replica;
insert into users (name) select 'user-' || n from generate_series(1, 100) n;
insert into tasks (user_id, task_type, global_epoch, regional_epoch, task_description, state, region, priority,
                   idempotency_key, fingerprint, finished_at, summary, xid)
select 1 + n %% 100, 'graph', 0, 0, '{"nodes":[{"id":"n0","model":"old","body":{"messages":[]}}]}', 'completed',
       'default', 0, 'key-' || n, md5(n::text), now(), '{}', pg_current_xact_id()
from generate_series(1, %s) n;
insert into documents (doc_type, doc_content, task_id)
select kind, '{"messages":[{"role":"user","content":"no-op"}]}', task_id
from tasks, unnest(array['request', 'response']) kind;
insert into dispatches (task_id, node_id, request_id, model, attempt)
select task_id, 'n0', 'req-' || task_id, 'old', 1 from tasks;
insert into progress (task_id, node_id, global_epoch, regional_epoch, result, event_id, outcome)
select task_id, 'n0', 0, 0,
       '{"outcome":"completed","status":200,"usage":{"prompt_tokens":1,"completion_tokens":8,"total_tokens":9}}',
       'event-' || task_id, 'completed'
from tasks;
insert into inbox (event_id) select event_id from progress;
insert into ledger (request_id, event_id, task_id, node_id, model, node, node_type, outcome, status, prompt_tokens,
                    completion_tokens, total_tokens, cached_tokens, reasoning_tokens, estimated)
select 'req-' || task_id, event_id, task_id, node_id, 'old', 'old', 'mock', 'completed', 200, 1, 8, 9, 0, 0, false
from progress;
reset session_replication_role
"""


def run(bus: BusName, *, rows: Sequence[int], tasks: int, rounds: int, file: Path | None) -> None:
    """Measures, prints, writes. Raises `PartError`."""
    runs: dict[int, list[GraphRun]] = {count: [] for count in rows}
    with stage(pulsar=bus == "pulsar") as on:
        filled = {count: _filled(on, count) for count in rows}
        for number in range(1, rounds + 1):
            for count in rows:
                runs[count].append(_round(filled[count], bus, tasks))
                say(f"round {number} of {rounds}, {count:,} rows: {runs[count][-1].rate:,.0f} nodes/s")
    _print(bus, runs, tasks)
    written = [{"rows": count, **asdict(each), "rate": each.rate} for count, all_ in runs.items() for each in all_]
    report.write("rows", {"bus": bus, "tasks": tasks, "runs": written}, file)


def _filled(on: Stage, count: int) -> Stage:
    """A database of its own, with so many finished tasks, as it is when the server has looked after its tables."""
    name = f"rows_{count}"
    with database(on) as ask:
        ask(f"create database {name} template {_name(on.database)}")
    own = replace(on, database=_renamed(on.database, name), worker_bus=_renamed(on.worker_bus, name))
    say(f"filling {name}")
    with database(own) as ask:
        ask(FILL, count)
        ask("vacuum (analyze)")
        ask("checkpoint")
    return own


def _name(address: str) -> str:
    return urlsplit(address).path.removeprefix("/")


def _renamed(address: str, name: str) -> str:
    return urlunsplit(urlsplit(address)._replace(path="/" + name))


def _round(on: Stage, bus: BusName, tasks: int) -> GraphRun:
    with fleet(on, bus, **BACKEND) as started:
        run_graphs(on, started, "warm-up", [bag(started.model, WARM_UP)])
        return run_graphs(on, started, "rows", [diamond(started.model, WIDTH)] * tasks)


def _print(bus: BusName, runs: dict[int, list[GraphRun]], tasks: int) -> None:
    report.show(
        f"{tasks:,} diamonds of {TASK_NODES} no-op nodes on {bus}, 1 worker, with finished tasks in the store; "
        f"medians of {len(next(iter(runs.values())))} round(s); CPU in ms a node\n"
    )
    of = {f"{count:,}": several for count, several in runs.items()}
    first, most = next(iter(runs)), max(runs)
    report.show(rates_table("finished tasks", of, "of the first", median_rate(runs[first])) + "\n")
    ratio = median_rate(runs[most]) / median_rate(runs[first])
    wanted = f"with {most:,} rows at least {GOAL_RATIO:g} of the nodes/s with {first:,} ({ratio:.2f})"
    report.show(report.goal(wanted, met=ratio >= GOAL_RATIO))
