"""Pipelines as users meet them: `agentos pipelines`, `agentos load --pipeline` and the Python client, on a fleet."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import signal
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
import yaml

from agentos.pipeline_files import read_pipeline
from policy.slo.pipeline import Pipeline
from tests.e2e.commanding import SECONDS, agentos, start
from tests.fixtures.fleet import Fleet, Site, until
from workload.client import Client
from workload.errors import GatewayRefused
from workload.pipeline_report import DOOR, UNREACHABLE

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.xdist_group("e2e-pipeline-client"),
    # They speak HTTP: the broker is nothing to them.
    pytest.mark.parametrize("site", ["postgres"], indirect=True, scope="module"),
]
BATCHES = {1: 0.02, 2: 0.03, 8: 0.06}
# No request of these tests misses it, however slow the machine.
AMPLE = 60.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(site: Site, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fleet]:
    """Its pipeline is named like its model, and there."""
    directory: Path = tmp_path_factory.mktemp("fleet")
    with Fleet(site, directory, model=f"shop-{uuid.uuid4().hex[:12]}") as fleet:
        table = ",".join(f"{size}:{seconds}" for size, seconds in BATCHES.items())
        batching = {"AGENTOS_MOCK_BATCH_SECONDS": table, "AGENTOS_BATCH_SIZE": "8"}
        stages = [fleet.worker(MODEL_NAME=f"{fleet.model}-{stage}", **batching) for stage in ("embed", "rank")]
        await fleet.start(fleet.coordinator(), fleet.worker(), *stages)
        async with Client(fleet.url) as client:
            await client.apply(shop(fleet))
            await client.request(fleet.model, "hello", wait=SECONDS)
            await until(lambda: working(client, fleet), "the workers of both stages are known")
        yield fleet


async def working(client: Client, fleet: Fleet) -> bool:
    stages = (await client.pipeline(fleet.model))["figures"]["stages"]
    return all(stage["workers"] for stage in stages.values())


def shop(fleet: Fleet, **fields: Any) -> dict[str, Any]:
    stage = {"profile": {str(size): seconds for size, seconds in BATCHES.items()}}
    embed = {"id": "embed", "model": f"{fleet.model}-embed", **stage}
    rank = {"id": "rank", "model": f"{fleet.model}-rank", "after": ["embed"], **stage}
    return {"name": fleet.model, "slo_seconds": AMPLE, "stages": [embed, rank], **fields}


@pytest.fixture
def file(fleet: Fleet, tmp_path: Path) -> Path:
    """Of another pipeline, with models of its own."""
    other = shop(fleet, name=f"{fleet.model}-2")
    for stage in other["stages"]:
        stage["model"] += "-2"
    file = tmp_path / "pipeline.yaml"
    file.write_text(yaml.safe_dump(other))
    return file


async def test_a_pipeline_in_a_file_is_put_there_listed_shown_and_taken_away(fleet: Fleet, file: Path) -> None:
    name = read_pipeline(file).name
    for _ in range(2):
        said = await agentos(fleet, "pipelines", "apply", file)
        assert (said.code, said.out) == (0, f"{name} is there, with 2 stages\n"), said.err
    listed = await agentos(fleet, "pipelines", "list")
    assert re.search(rf"^{name} +agentos +60 s +embed, rank$", listed.out, re.MULTILINE)
    shown = await agentos(fleet, "pipelines", "show", name)
    assert re.search(rf"^rank +{name.removesuffix('-2')}-rank-2 +embed +0 +\d+( +0){{5}}$", shown.out, re.MULTILINE)
    assert (await agentos(fleet, "pipelines", "delete", name)).code == 0
    assert name not in (await agentos(fleet, "pipelines", "list", "--json")).out
    gone = await agentos(fleet, "pipelines", "show", name)
    assert (gone.code, "refused with status 404" in gone.err) == (1, True)


async def test_what_is_wrong_is_told_in_a_line(fleet: Fleet) -> None:
    good = yaml.safe_dump(shop(fleet, name="other"))
    circle = await agentos(fleet, "pipelines", "apply", "-", input=good.replace("  - embed", "  - rank"))
    assert (circle.code, "line " in circle.err, "/stages/1" in circle.err) == (2, True, True)
    taken = await agentos(fleet, "pipelines", "apply", "-", input=good)
    assert (taken.code, "refused with status 409" in taken.err) == (1, True)
    for said in (circle, taken):
        assert len(said.err.splitlines()) == 1


async def test_the_client_asks_and_waits(fleet: Fleet) -> None:
    async with Client(fleet.url) as client:
        assert fleet.model in [each["name"] for each in await client.pipelines()]
        ended = await client.request(fleet.model, "hello", wait=SECONDS)
        assert (ended["status"], ended["pipeline"]) == ("completed", fleet.model)
        assert ended["nodes"][-1]["output"]
        taken = await client.request(fleet.model, "hello", key="k")
        again = await client.request(fleet.model, "hello", key="k", wait=SECONDS)
        assert (again["id"], again["status"]) == (taken["id"], "completed")
        assert (await client.task(taken["id"]).look())["status"] == "completed"


async def test_the_client_is_told_at_once_what_cannot_be_in_time(fleet: Fleet) -> None:
    async with Client(fleet.url) as client:
        task = await client.request(fleet.model, "hello", slo_seconds=BATCHES[1], wait=SECONDS)
    assert (task["status"], task["error"]["code"]) == ("expired", UNREACHABLE)
    assert [node["seconds"] for node in task["nodes"]] == [None, None]


async def test_a_pipeline_may_be_a_structure(fleet: Fleet, file: Path) -> None:
    pipeline: Pipeline = read_pipeline(file)
    async with Client(fleet.url) as client:
        kept = await client.apply(pipeline)
        assert [stage["id"] for stage in kept["stages"]] == ["embed", "rank"]
        await client.delete(pipeline.name)
        with pytest.raises(GatewayRefused, match="404"):
            await client.delete(pipeline.name)


async def test_load_tells_what_became_of_each_request_and_stage(fleet: Fleet, tmp_path: Path) -> None:
    options = ("--rate", 10, "--seconds", 3, "--seed", 1, "--tensorboard", tmp_path / "run")
    said = await agentos(fleet, "load", "--pipeline", fleet.model, *options, "--json")
    assert said.code == 0, said.err
    figures = said.json
    assert figures["on_time"] == figures["offered"] > 0
    assert (figures["goodput"], figures["dropped"], figures["failed"]) == (1, {}, {})
    for stage in figures["stages"].values():
        assert stage["requests"] == figures["offered"]
        assert stage["seconds"] > 0
        assert stage["wasted_seconds"] == 0
        assert stage["worker_seconds"] > 0
    (events,) = (tmp_path / "run").iterdir()
    assert events.stat().st_size > 100


async def test_what_is_dropped_at_the_door_is_told_so(fleet: Fleet) -> None:
    options = ("--rate", 10, "--seconds", 1, "--seed", 1, "--slo", BATCHES[1])
    said = await agentos(fleet, "load", "--pipeline", fleet.model, *options, "--json")
    assert said.code == 1, said.err
    assert said.json["dropped"] == {DOOR: said.json["offered"]}
    assert said.json["goodput"] == 0
    table = await agentos(fleet, "load", "--pipeline", fleet.model, *options)
    assert re.search(r"dropped \d+ \(\d+ at door\)", table.out)


async def test_a_trace_may_hold_times_alone(fleet: Fleet, tmp_path: Path) -> None:
    file = tmp_path / "trace.csv"
    file.write_text("arrived_at\n5\n6\n900\n")
    said = await agentos(fleet, "load", "--pipeline", fleet.model, "--trace", file, "--seconds", 2, "--json")
    assert said.code == 0, said.err
    assert said.json["on_time"] == 2


async def test_prometheus_hears_of_a_load_until_it_is_interrupted(fleet: Fleet) -> None:
    options = ("--rate", 20, "--seconds", 1000, "--metrics-port", 0, "--json")
    process = await start(fleet, "load", "--pipeline", fleet.model, *options)
    assert process.stderr is not None
    async with asyncio.timeout(SECONDS), aiohttp.ClientSession() as session:
        url = re.findall(r"http://\S+", (await process.stderr.readline()).decode())[0]
        await until(lambda: on_time(session, url), "Prometheus finds requests on time")
        process.send_signal(signal.SIGINT)
        out, err = await process.communicate()
    assert process.returncode == 130, err
    assert json.loads(out)["on_time"] > 0


async def on_time(session: aiohttp.ClientSession, url: str) -> bool:
    async with session.get(url) as answer:
        text = await answer.text()
    return 'agentos_load_ended_total{how="on_time"}' in text and 'agentos_load_stage_workers{stage="rank"} 1' in text


async def test_a_terminal_shows_each_stage(fleet: Fleet) -> None:
    terminal, other_end = pty.openpty()
    try:
        process = await start(fleet, "load", "--pipeline", fleet.model, "--rate", 10, "--seconds", 3, err=other_end)
        async with asyncio.timeout(SECONDS):
            out, _ = await process.communicate()
        assert process.returncode == 0
        shown = os.read(terminal, 1 << 20).decode()
    finally:
        os.close(terminal)
        os.close(other_end)
    for words in (f"pipeline {fleet.model}, policy agentos, SLO 60 s", "goodput", "outstanding", "embed"):
        assert words in shown
    assert "goodput 100.00%: within 60 s, of all offered" in out.decode()


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--pipeline", "nobody", "--rate", "1"], 1, "'nobody'"),
        (["--pipeline", "x", "--rate", "1", "--stream"], 2, "--stream"),
        (["--pipeline", "x", "--rate", "1", "--tasks", "f"], 2, "--tasks"),
        (["--pipeline", "x"], 2, "--rate"),
    ],
)
async def test_options_that_make_no_sense_are_named(fleet: Fleet, arguments: list[str], code: int, says: str) -> None:
    said = await agentos(fleet, "load", *arguments)
    assert (said.code, "Traceback" in said.err) == (code, False)
    assert says in said.err
