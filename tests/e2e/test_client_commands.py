"""The commands of clients (`agentos submit`, `load`, …) on a fleet, as processes of their own."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import pty
import re
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.e2e.commanding import SECONDS, agentos, start
from tests.fixtures.fleet import ROOT, Fleet, Site, until
from workload.client import Client

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.xdist_group("e2e-client-commands"),
    # They speak HTTP: the broker is nothing to them.
    pytest.mark.parametrize("site", ["postgres"], indirect=True, scope="module"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(site: Site, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fleet]:
    directory: Path = tmp_path_factory.mktemp("fleet")
    with Fleet(site, directory) as fleet:
        await fleet.start(fleet.coordinator(), fleet.worker())
        yield fleet


def graph(fleet: Fleet, **fields: Any) -> str:
    return json.dumps({"nodes": [{"id": "a", "model": fleet.model, "prompt": "x", **fields}]})


@pytest.fixture
def example(fleet: Fleet, tmp_path: Path) -> Path:
    """examples/graph.yaml, on the fleet's model."""
    file = tmp_path / "graph.yaml"
    file.write_text((ROOT / "examples" / "graph.yaml").read_text().replace("model: mock", f"model: {fleet.model}"))
    return file


async def test_a_graph_in_a_file_is_submitted_watched_and_shown(fleet: Fleet, example: Path) -> None:
    said = await agentos(fleet, "submit", example, "--watch")
    assert said.code == 0, said.err
    assert "node.completed step[2]" in said.out
    id = re.findall(r"(task_\d+) is completed", said.out)[0]
    shown = await agentos(fleet, "task", id, "--outputs", "--json")
    assert len(shown.json["outputs"]["step"]) == 3
    assert shown.json["progress"]["completed"] == 5
    listed = await agentos(fleet, "tasks", "--user", "alice", "--status", "completed")
    assert id in listed.out
    assert "5/5" in listed.out


async def test_a_bar_shows_on_a_terminal_alone(fleet: Fleet, example: Path) -> None:
    terminal, other_end = pty.openpty()
    try:
        process = await start(fleet, "submit", example, "--watch", err=other_end)
        async with asyncio.timeout(SECONDS):
            out, _ = await process.communicate()
        assert process.returncode == 0
        assert b"/5" in os.read(terminal, 1 << 20)
    finally:
        os.close(terminal)
        os.close(other_end)
    assert b"node.completed" not in out


async def test_a_task_that_fails_is_exit_code_one_with_the_reason(fleet: Fleet) -> None:
    said = await agentos(
        fleet, "submit", "-", "--watch", "--json", input=graph(fleet, body={"agentos_mock": {"bytes": -1}})
    )
    assert said.code == 1
    assert said.json["status"] == "failed"
    names = [json.loads(line).get("name") for line in said.out.splitlines()]
    assert names == ["node.running", "node.failed", "task.failed", None]
    shown = await agentos(fleet, "task", said.json["id"])
    assert "invalid_agentos_mock" in shown.out


async def test_the_same_key_is_the_same_task(fleet: Fleet) -> None:
    first, again = [await agentos(fleet, "submit", "-", "--key", "k", input=graph(fleet)) for _ in range(2)]
    assert first.out == again.out
    assert first.out.startswith("task_")


async def test_interrupted_it_says_that_the_task_goes_on(fleet: Fleet) -> None:
    process = await start(fleet, "submit", "-", "--watch")
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(graph(fleet, body={"agentos_mock": {"delay_seconds": 1000}}).encode())
    process.stdin.write_eof()
    async with asyncio.timeout(SECONDS):
        await process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, err = await process.communicate()
    assert process.returncode == 130
    id = re.findall(r"interrupted: (task_\d+) goes on: agentos task\|cancel", err.decode())[0]
    assert (await agentos(fleet, "cancel", id)).code == 0
    assert (await agentos(fleet, "cancel", id, "--json")).json["status"] == "cancelled"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["submit", "no-such-file"], 2, "no-such-file"),
        (["submit", "README.md"], 2, "README.md"),
        (["submit", "-", "--url", "127.0.0.1"], 2, "no address"),
        (["tasks", "--url", "http://127.0.0.1:1"], 1, "agentos up"),
        (["tasks", "--status", "gone"], 1, "refused with status 400"),
        (["task", "task_999999"], 1, "There is no task task_999999"),
        (["load"], 2, "--rate"),
        (["load", "--rate", "1", "--model", "other"], 2, "does not know the model 'other'"),
        (["load", "--rate", "1", "--arrivals", "even"], 2, "'even'"),
        (["load", "--trace", "README.md"], 2, "lacks the column"),
        (["load", "--rate", "0"], 2, "more than 0"),
        (["synthetic", "ring", "--task-count", "1"], 2, "ring"),
    ],
)
async def test_what_is_wrong_is_told_in_a_line(fleet: Fleet, arguments: list[str], code: int, says: str) -> None:
    said = await agentos(fleet, *arguments, input=graph(fleet))
    assert (said.code, "Traceback" in said.err) == (code, False)
    assert says in said.err


async def test_load_is_reported(fleet: Fleet, example: Path) -> None:
    options = ("--seconds", 2, "--seed", 1, "--slo", 30, "--model", fleet.model, "--json")
    plain, gamma, tasks = await asyncio.gather(
        agentos(fleet, "load", "--rate", 10, *options),
        agentos(fleet, "load", "--rate", 10, "--arrivals", "gamma", "--burstiness", 0.5, "--stream", *options),
        agentos(fleet, "load", "--rate", 3, "--tasks", example, *options),
    )
    for said in (plain, gamma, tasks):
        assert said.code == 0, said.err
        assert said.json["answered"] == said.json["offered"] > 0
        assert said.json["attainment"] == 1
    assert plain.json["first_token"] is None
    assert gamma.json["first_token"]["p50"] <= gamma.json["latency"]["p50"]


async def test_load_of_which_nothing_is_answered_is_exit_code_one(fleet: Fleet, tmp_path: Path) -> None:
    file = tmp_path / "graph.json"
    file.write_text(graph(fleet, body={"agentos_mock": {"bytes": -1}}))
    said = await agentos(
        fleet, "load", "--rate", 5, "--seconds", 1, "--seed", 1, "--slo", 9, "--tasks", file, "--json"
    )
    assert said.code == 1, said.err
    assert said.json["attainment"] == 0
    assert sum(said.json["failed"].values()) == said.json["offered"] > 0


async def test_a_trace_is_replayed_with_its_sizes(fleet: Fleet, tmp_path: Path) -> None:
    file = tmp_path / "trace.csv"
    file.write_text("arrived_at,num_prefill_tokens,num_decode_tokens\n5,3,4\n6,50,60\n900,1,1\n")
    said = await agentos(fleet, "load", "--trace", file, "--seconds", 2, "--model", fleet.model)
    assert said.code == 0, said.err
    assert "offered 2 " in said.out
    query = "select completion_tokens as said, prompt_tokens as asked from ledger order by 1 desc limit 200"
    sizes = {(row["asked"], row["said"]) for row in await fleet.rows(query)}
    assert {(3, 4), (50, 60)} <= sizes


async def test_interrupted_load_reports_what_was_seen(fleet: Fleet) -> None:
    before = await fleet.counts()
    process = await start(fleet, "load", "--rate", 20, "--seconds", 1000, "--model", fleet.model, "--json")
    await until(lambda: served(fleet, before.progress), "some requests are served")
    process.send_signal(signal.SIGINT)
    async with asyncio.timeout(SECONDS):
        out, err = await process.communicate()
    assert process.returncode == 130, err
    assert json.loads(out)["answered"] > 0


async def served(fleet: Fleet, before: int) -> bool:
    return (await fleet.counts()).progress >= before + 5


@pytest.mark.parametrize(
    ("structure", "tasks", "pieces"), [("bag", 6, 1), ("diamond", 8, 6), ("reduce", 7, 6), ("sequential", 6, 1)]
)
async def test_a_synthetic_workflow_has_its_tasks_and_its_data(
    fleet: Fleet, structure: str, tasks: int, pieces: int
) -> None:
    before = await fleet.counts()
    newest = (await fleet.rows("select coalesce(max(task_id), 0) as id from tasks"))[0]["id"]
    options = ("--task-count", 6, "--task-data-bytes", 1000, "--task-sleep", 0.05, "--bag-max-running", 2)
    said = await agentos(fleet, "synthetic", structure, *options, "--warmup-tasks", 1, *ON, fleet.model)
    assert said.code == 0, said.err
    assert said.json["tasks"] == tasks
    assert said.json["tasks_per_second"] == pytest.approx(tasks / said.json["seconds"])
    assert (await fleet.folded(progress=tasks + 1, since=before)).progress == tasks + 1
    outputs = await texts(fleet, newest)
    assert sorted(map(len, outputs)) == [0] + [1000] * tasks
    assert len(set(outputs)) == tasks + 1
    calls = await fleet.rows("select started_at, finished_at, prompt_tokens from ledger where task_id > $1", newest)
    assert len(calls) == tasks + 1
    # Data hold no spaces: each piece is a word.
    assert max(call["prompt_tokens"] for call in calls) == pieces
    if structure == "bag":
        assert most_at_once(calls) <= 2


ON = ("--json", "--model")


def most_at_once(calls: list[Any]) -> int:
    ends = [(call["started_at"], 1) for call in calls] + [(call["finished_at"], -1) for call in calls]
    return max(itertools.accumulate(change for _, change in sorted(ends)))


async def texts(fleet: Fleet, newest: int) -> list[str]:
    found: list[str] = []
    async with Client(fleet.url) as client:
        for row in await fleet.rows("select task_id as id from tasks where task_id > $1", newest):
            found += (await client.task(f"task_{row['id']}").result()).values()
    return found


async def test_the_example_in_python_runs(fleet: Fleet) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "examples.graph", fleet.url, fleet.model, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(SECONDS):
        out, _ = await process.communicate()
    assert process.returncode == 0
    assert out.startswith(b"task_")


async def test_users_are_listed_and_get_weights(fleet: Fleet) -> None:
    set_to = await agentos(fleet, "users", "weighty", "--weight", "3", "--json")
    assert (set_to.code, set_to.json) == (0, [{"object": "user", "name": "weighty", "weight": 3.0}])
    listed = await agentos(fleet, "users")
    assert "weighty  3" in listed.out
    refused = await agentos(fleet, "users", "weighty", "--weight", "0")
    assert refused.code == 1
    assert "weight" in refused.err
    assert (await agentos(fleet, "users", "weighty")).code == 2
