"""`agentos up --pipeline`: the pipeline is there, its workers come and go with the load, nothing is left."""

from __future__ import annotations

import json
import signal
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.agentos.stand_ins import PATIENCE, using
from tests.agentos.test_up import Running, assert_nothing_left, up

pytestmark = [pytest.mark.kills, pytest.mark.timeout(180)]

FAST = {"NODE_TYPE": "mock", "AGENTOS_MOCK_BATCH_SECONDS": "1:0.05,8:0.1"}


def stage(id: str, **fields: Any) -> dict[str, Any]:
    body = {"messages": [{"role": "user", "content": "${{ input }}"}]}
    profile = {"1": 0.05, "8": 0.1}
    return {"id": id, "model": f"staged-{id}", "profile": profile, "body": body, "run": FAST} | fields


def described(file: Path, *stages: dict[str, Any]) -> Path:
    file.write_text(json.dumps({"name": file.stem, "slo_seconds": 2.0, "stages": list(stages)}))
    return file


def request(url: str, path: str, body: Any = None, **headers: str) -> Any:
    asked = urllib.request.Request(url + path, json.dumps(body).encode() if body else None, headers)
    with urllib.request.urlopen(asked, timeout=60) as answer:
        return json.load(answer)


def wait_until(condition: Callable[[], Any], running: Running) -> None:
    until = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < until, running.said()
        time.sleep(0.1)


def workers(running: Running, model: str) -> list[int]:
    found = []
    for each in psutil.Process(running.process.pid).children():
        if each.cmdline()[-1] == "worker" and each.environ().get("MODEL_NAME") == model:
            found.append(each.pid)
    return found


def test_workers_of_a_pipeline_are_started_and_follow_the_planner(tmp_path: Path) -> None:
    chain = described(
        tmp_path / "chain.yaml",
        stage("a", workers={"least": 2, "most": 2}),
        stage("b", after=["a"], workers={"least": 0, "most": 2}),
    )
    state = tmp_path / "state"
    with up(state, "--no-local", "--no-mock", "--pipeline", str(chain)) as running:
        told = running.ready()
        assert told["models"] == ["staged-a"]
        assert len(workers(running, "staged-a")) == 2
        assert workers(running, "staged-b") == []
        url = told["url"]
        assert request(url, "/pipelines/chain")["slo_seconds"] == 2.0
        # Nobody serves the second stage: the first request calls for a worker.
        body = {"input": "hello", "slo_seconds": 60}
        task = request(url, "/pipelines/chain/requests", body, Prefer="wait=50")
        assert task["status"] == "completed"
        assert len(workers(running, "staged-b")) >= 1
        wait_until(lambda: "pipeline chain, stage b: 0 → " in running.said(), running)
        assert [each.name for each in sorted((state / "logs").glob("worker-chain-*.log"))][:3] == [
            "worker-chain-a-1.log",
            "worker-chain-a-2.log",
            "worker-chain-b-1.log",
        ]
        pids = running.pids()
        running.process.send_signal(signal.SIGINT)
        assert running.ended() == 0
        assert_nothing_left(state, pids)


def test_switched_off_the_planner_changes_nothing(tmp_path: Path) -> None:
    fixed = described(tmp_path / "fixed.yaml", stage("a", workers={"least": 1, "most": 4}))
    options = ("--no-local", "--no-mock", "--pipeline", str(fixed))
    with up(tmp_path / "state", *options, AGENTOS_PLANNER="off") as running:
        url = running.ready()["url"]
        for _ in range(60):
            request(url, "/pipelines/fixed/requests", {"input": "hello"})
        body = {"input": "last", "slo_seconds": 60}
        assert request(url, "/pipelines/fixed/requests", body, Prefer="wait=50")["status"] == "completed"
        assert len(workers(running, "staged-a")) == 1
        assert "→" not in running.said()


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        ({"after": ["gone"]}, 2, "/stages/0/after/0"),
        ({"run": {**FAST, "AGENTOS_MOCK_DELY_SECONDS": "1"}}, 1, "did you mean AGENTOS_MOCK_DELAY_SECONDS?"),
    ],
)
def test_a_wrong_pipeline_ends_it_with_the_place(
    tmp_path: Path, change: dict[str, Any], code: int, said: str
) -> None:
    wrong = described(tmp_path / "wrong.yaml", stage("a", **change))
    state = tmp_path / "state"
    with up(state, "--no-local", "--no-mock", "--pipeline", str(wrong)) as running:
        assert running.ended() == code
        assert said in running.said()
        wait_until(lambda: not using(state), running)
