"""`agentos up`, as people run it: the ready line, every way to end it, and nothing left afterwards."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest

from agentos.databases import WORKER_ROLE
from agentos.runs import postmaster
from tests.agentos.stand_ins import PATIENCE, using, wait_gone

pytestmark = [pytest.mark.kills, pytest.mark.timeout(180)]

COMMAND = (sys.executable, "-m", "agentos", "up")


class Running:
    """A started `agentos up --json`."""

    def __init__(self, state: Path, *options: str, command: Sequence[str] = COMMAND, **variables: str) -> None:
        self.state = state
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("AGENTOS_", "PULSAR_"))}
        self._errors = (state.parent / f"{state.name}.stderr").open("w+")
        self.process = subprocess.Popen(
            [*command, "--json", "--port", "0", "--state-dir", str(state), *options],
            env=clean | variables,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            start_new_session=True,  # its own group, as a terminal's foreground group
        )

    def ready(self) -> dict[str, Any]:
        """Waits for the ready line."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.said()
        answer: dict[str, Any] = json.loads(line)
        return answer

    def said(self) -> str:
        """All of standard error so far."""
        return Path(self._errors.name).read_text()

    def wait_for(self, text: str) -> None:
        """Waits until it has said `text`."""
        until = time.monotonic() + PATIENCE
        while text not in self.said():
            assert time.monotonic() < until, self.said()
            assert self.process.poll() is None, self.said()
            time.sleep(0.02)

    def ended(self) -> int:
        """Waits for its end and returns the exit code."""
        return self.process.wait(90)

    def pids(self) -> list[int]:
        """Everything that it has started."""
        server = postmaster(self.state / "postgres")
        processes = psutil.Process(self.process.pid).children(recursive=True)
        processes += [server, *server.children(recursive=True)] if server else []
        return [each.pid for each in processes]

    def close(self) -> None:
        """Kills it if the test has not ended it; the guardian does the rest."""
        pids = self.pids() if self.process.poll() is None else []
        self.process.kill()
        self.process.communicate()
        self._errors.close()
        assert wait_gone(pids) == []


@contextmanager
def up(state: Path, *options: str, **variables: str) -> Iterator[Running]:
    running = Running(state, *options, **variables)
    try:
        yield running
    finally:
        running.close()


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def ask(url: str, model: str) -> dict[str, Any]:
    """One plain chat completion."""
    body = {"model": model, "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 8}
    request = urllib.request.Request(f"{url}/chat/completions", json.dumps(body).encode())
    request.add_header("content-type", "application/json")
    with urllib.request.urlopen(request, timeout=60) as answer:
        told: dict[str, Any] = json.load(answer)
        return told


def assert_nothing_left(state: Path, pids: list[int]) -> None:
    """Waits a little: the guardian of a killed one is the last to go."""
    assert wait_gone(pids) == []
    until = time.monotonic() + PATIENCE
    while using(state) and time.monotonic() < until:
        time.sleep(0.1)
    assert using(state) == []
    assert list((state / "runs").iterdir()) == []


@pytest.mark.llama
def test_everything_starts_and_answers_and_a_signal_ends_it(state: Path) -> None:
    with up(state) as running:
        told = running.ready()
        assert told["models"] == ["mock", "local"]
        assert told["bus"] == "Postgres"
        assert "no model file given; using a tiny random model that answers nonsense" in running.said()
        for model in told["models"]:
            assert ask(told["url"], model)["usage"]["completion_tokens"] > 0
        pids = running.pids()
        running.process.send_signal(signal.SIGTERM)
        assert running.ended() == 0
        assert_nothing_left(state, pids)


@pytest.mark.parametrize(
    "end",
    [
        pytest.param(lambda pid: os.killpg(pid, signal.SIGINT), id="ctrl-c"),
        pytest.param(lambda pid: os.killpg(pid, signal.SIGHUP), id="closed terminal"),
    ],
)
def test_a_terminals_signal_stops_in_order(state: Path, end: Callable[[int], None]) -> None:
    with up(state, "--no-local") as running:
        running.ready()
        pids = running.pids()
        end(running.process.pid)
        assert running.ended() == 0
        said = running.said()
        assert said.index("stopping worker-mock") < said.index("stopping coordinator")
        assert "killing it" not in said
        assert "ended " not in said  # by itself or as a leftover
        assert_nothing_left(state, pids)


def test_killed_it_leaves_nothing_and_can_be_started_again_at_once(state: Path) -> None:
    with up(state, "--no-local") as running:
        running.ready()
        pids = running.pids()
        running.process.kill()
        with up(state, "--no-local") as again:
            assert ask(again.ready()["url"], "mock")["object"] == "chat.completion"
            assert wait_gone(pids) == []
            pids = again.pids()
            again.process.send_signal(signal.SIGTERM)
            assert again.ended() == 0
            assert_nothing_left(state, pids)


@pytest.mark.parametrize("step", ["starting Postgres", "starting the coordinator", "starting the workers"])
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGKILL])
def test_interrupted_while_it_starts_it_leaves_nothing(state: Path, step: str, sign: signal.Signals) -> None:
    with up(state, "--no-local") as running:
        running.wait_for(step)
        pids = running.pids()
        running.process.send_signal(sign)
        assert running.ended() == (0 if sign == signal.SIGINT else -sign)
        assert_nothing_left(state, pids)


def test_a_child_that_cannot_start_is_named_with_its_last_words_and_all_is_undone(state: Path) -> None:
    with up(state, "--no-mock", "--model-file", str(state / "missing.gguf")) as running:
        assert running.ended() == 1
        said = running.said()
        assert "AgentOS has stopped: worker-local ended by exit status" in said
        assert "missing.gguf" in said.partition("AgentOS has stopped")[2]
        assert_nothing_left(state, [])


def test_a_settings_file_reaches_the_workers(state: Path) -> None:
    file = state.parent / "agentos.toml"
    file.write_text('mock_text = "From the file."\n')
    with up(state, "--no-local", "--config", str(file)) as running:
        answer = ask(running.ready()["url"], "mock")
        assert answer["choices"][0]["message"]["content"] == "From the file."


def test_a_wrong_setting_of_a_child_is_said_before_it_starts(state: Path) -> None:
    with up(state, "--no-local", MAX_PROCESS_NUM="none") as running:
        assert running.ended() == 1
        assert "MAX_PROCESS_NUM" in running.said()
        assert_nothing_left(state, [])


def test_a_taken_port_is_said_before_anything_starts(state: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with up(state, "--port", str(port)) as running:
            assert running.ended() == 1
            assert f"port {port} is taken by another program" in running.said()
            assert "PORT=" in running.said()
            assert not (state / "postgres").exists()


def test_a_second_one_on_the_same_state_is_refused_by_the_firsts_process_id(state: Path) -> None:
    with up(state, "--no-local") as first:
        first.ready()
        with up(state, "--no-local") as second:
            assert second.ended() == 1
            assert f"AgentOS runs already in {state} (process {first.process.pid})" in second.said()
        assert first.process.poll() is None


def test_a_coordinator_that_is_killed_is_started_again(state: Path) -> None:
    with up(state, "--no-local") as running:
        url = running.ready()["url"]
        _child(running, "coordinator").kill()
        running.wait_for("coordinator ended by signal SIGKILL; starting it again")
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            try:
                assert ask(url, "mock")["object"] == "chat.completion"
                break
            except OSError:
                time.sleep(0.1)
        else:
            pytest.fail(running.said())


@pytest.mark.pulsar
@pytest.mark.xdist_group("own broker")
def test_on_pulsar_it_answers_and_killed_it_leaves_no_broker(state: Path, pulsar_home: Path) -> None:
    with up(state, "--no-local", "--pulsar", PULSAR_HOME=str(pulsar_home)) as running:
        told = running.ready()
        assert told["bus"] == "Pulsar"
        assert ask(told["url"], "mock")["object"] == "chat.completion"
        pids = running.pids()
        assert any("java" in psutil.Process(pid).name() for pid in pids)
        running.process.kill()
        assert_nothing_left(state, pids)


@pytest.mark.pulsar
@pytest.mark.xdist_group("own broker")
def test_interrupted_while_pulsar_starts_it_does_not_wait_for_it(state: Path, pulsar_home: Path) -> None:
    with up(state, "--no-local", "--pulsar", PULSAR_HOME=str(pulsar_home)) as running:
        running.wait_for("starting Apache Pulsar")
        pids = running.pids()
        running.process.send_signal(signal.SIGINT)
        assert running.ended() == 0
        assert "AgentOS has stopped" not in running.said()
        assert_nothing_left(state, pids)


async def test_workers_have_no_rights_on_the_store(state: Path) -> None:
    with up(state, "--no-local") as running:
        running.ready()
        environment = _child(running, "worker").environ()
        assert "AGENTOS_DATABASE_URL" not in environment
        assert f"//{WORKER_ROLE}:@" in environment["AGENTOS_BUS_URL"]
        connection = await asyncpg.connect(environment["AGENTOS_BUS_URL"])
        try:
            await connection.fetch("select id from agentos_bus.messages")
            tables = await connection.fetch("select tablename from pg_tables where schemaname = 'public'")
            assert tables
            for table in tables:
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.fetch(f"select from public.{table['tablename']}")
        finally:
            await connection.close()


def _child(running: Running, command: str) -> psutil.Process:
    (found,) = (each for each in psutil.Process(running.process.pid).children() if each.cmdline()[-1] == command)
    return found
