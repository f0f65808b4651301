from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest

from core.errors import ConfigurationError, PartError
from tests.workernode.chunks import Chunks
from workernode import llama_server, modelwatch
from workernode.backends.base import Call
from workernode.backends.local import STARTING, LocalBackend
from workernode.classify import Retry
from workernode.errors import BackendUnavailable, CallFailed
from workernode.modelprocess import command
from workernode.resources import Capacity, Machine

pytestmark = pytest.mark.llama


def make_local(file: Path) -> LocalBackend:
    return LocalBackend(file, alias="tiny", max_slots=2, idle_timeout=30, call_timeout=60)


@pytest.fixture(autouse=True)
def calm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests on this machine take no slots from the model here."""
    calm = Machine(memory_left=1 << 30, memory_limit=1 << 30, stalled=0.0, load=0.0)
    monkeypatch.setattr(modelwatch, "read_machine", lambda: calm)


@pytest.fixture
async def local(tiny_model: Path) -> AsyncIterator[LocalBackend]:
    backend = make_local(tiny_model)
    await backend.start()
    yield backend
    await backend.close()


def make_call(*, stream: bool = False, max_tokens: int = 8, request_id: str = "r-1", **fields: Any) -> Call:
    messages = [{"role": "user", "content": "Say something."}]
    body = {"model": "tiny", "messages": messages, "max_tokens": max_tokens, "ignore_eos": True, **fields}
    return Call(request_id, body, stream)


def _runs(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


async def gone(pid: int) -> None:
    """Waits until the process has ended (a zombie has)."""
    async with asyncio.timeout(20):
        while _runs(pid):  # noqa: ASYNC110 - not a child of ours, no event
            await asyncio.sleep(0.02)


def kill(local: LocalBackend) -> int:
    """SIGKILL to the model; the process id that it had."""
    assert local.pid is not None
    pid = local.pid
    os.kill(pid, signal.SIGKILL)
    return pid


async def busy(local: LocalBackend) -> None:
    """Waits until the model computes."""
    assert local._process is not None
    async with asyncio.timeout(20), aiohttp.ClientSession(local._process.address) as session:
        while True:
            async with session.get("/slots") as response:
                if any(each["is_processing"] for each in await response.json()):
                    return
            await asyncio.sleep(0.02)


async def ready(local: LocalBackend) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                return await local.check()
            except BackendUnavailable:
                await asyncio.sleep(0.02)


async def test_a_real_model_answers_plain_and_streamed(local: LocalBackend) -> None:
    plain = await local.call(make_call(temperature=0), None)
    chunks = Chunks()
    streamed = await local.call(make_call(temperature=0, stream=True), chunks)
    answer = json.loads(plain.response)
    assert answer["model"] == "tiny"
    assert answer["choices"][0]["message"]["content"] == chunks.text() != ""
    assert (plain.usage.completion_tokens, plain.estimated) == (8, False)
    assert (streamed.usage.completion_tokens, streamed.estimated) == (8, False)
    assert plain.usage.prompt_tokens == streamed.usage.prompt_tokens > 0
    assert not any(chunk.get("usage") for chunk in chunks)
    assert json.loads(streamed.response)["choices"] == answer["choices"]


async def test_a_prompt_beyond_the_context_is_the_clients_error(local: LocalBackend) -> None:
    with pytest.raises(CallFailed) as failed:
        await local.call(make_call(messages=[{"role": "user", "content": "the " * 5000}]), None)
    assert (failed.value.status, failed.value.retry) == (400, Retry.NEVER)


async def test_cancelling_a_stream_frees_the_models_slot(local: LocalBackend) -> None:
    """Both slots are taken by answers that take seconds; cancelled, they are free for the next call at once."""
    sinks = [Chunks(), Chunks()]
    calls = [asyncio.create_task(local.call(make_call(stream=True, max_tokens=4000), sink)) for sink in sinks]
    for sink in sinks:
        await sink.first.wait()
    for call in calls:
        call.cancel()
    assert [type(each) for each in await asyncio.gather(*calls, return_exceptions=True)] == [
        asyncio.CancelledError,
        asyncio.CancelledError,
    ]
    answer = await local.call(make_call(), None)
    assert answer.usage.completion_tokens == 8


@pytest.mark.kills
async def test_a_model_process_that_is_killed_is_started_anew(local: LocalBackend) -> None:
    sink = Chunks()
    call = asyncio.create_task(local.call(make_call(stream=True, max_tokens=4000), sink))
    await sink.first.wait()
    assert local.pid is not None
    killed = local.pid
    os.kill(killed, signal.SIGKILL)
    with pytest.raises(CallFailed) as failed:
        await call
    assert failed.value.retry is Retry.BACK_OFF
    assert failed.value.usage is not None
    await gone(killed)
    await ready(local)
    assert local.pid != killed
    assert (await local.call(make_call(), None)).usage.completion_tokens == 8


@pytest.mark.kills
async def test_calls_of_a_killed_model_may_be_made_again_at_once_and_none_is_taken_before(
    local: LocalBackend,
) -> None:
    call = asyncio.create_task(local.call(make_call(max_tokens=4000), None))
    await busy(local)
    kill(local)
    with pytest.raises(CallFailed) as failed:
        await call
    assert (failed.value.retry, failed.value.retry_after) == (Retry.BACK_OFF, 0.0)
    assert local.capacity() == Capacity(0, STARTING)
    with pytest.raises(BackendUnavailable):
        await local.call(make_call(), None)
    await ready(local)
    assert local.capacity().slots == 2
    assert (await local.call(make_call(), None)).usage.completion_tokens == 8


@pytest.mark.kills
async def test_a_request_that_kills_the_model_is_served_alone_and_in_the_end_refused(local: LocalBackend) -> None:
    """Another that ran beside it once is answered all the same."""
    guilty, other = make_call(max_tokens=4000, request_id="guilty"), make_call(max_tokens=4000, request_id="other")
    calls = [asyncio.create_task(local.call(each, None)) for each in (guilty, other)]
    await busy(local)
    killed = kill(local)
    assert [type(each) for each in await asyncio.gather(*calls, return_exceptions=True)] == [CallFailed, CallFailed]
    for verdict in (Retry.BACK_OFF, Retry.NEVER):
        await gone(killed)
        await ready(local)
        again = asyncio.create_task(local.call(guilty, None))
        await busy(local)
        beside = asyncio.create_task(local.call(make_call(request_id="other"), None))
        await asyncio.sleep(0)  # it begins, and waits
        killed = kill(local)
        with pytest.raises(CallFailed) as failed:
            await again
        assert failed.value.retry is verdict
        with pytest.raises(BackendUnavailable):  # it waited, and was not there when the model died
            await beside
    assert failed.value.error["code"] == "model_crashed"
    await ready(local)
    assert (await local.call(make_call(request_id="other"), None)).usage.completion_tokens == 8


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks often, and soon has enough."""
    monkeypatch.setattr(modelwatch, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(modelwatch, "ANSWER_SECONDS", 1.0)
    monkeypatch.setattr(modelwatch, "STUCK_SECONDS", 1.0)


@pytest.mark.kills
@pytest.mark.usefixtures("impatient")
async def test_a_model_process_that_hangs_is_ended_and_started_anew(local: LocalBackend) -> None:
    sink = Chunks()
    call = asyncio.create_task(local.call(make_call(stream=True, max_tokens=4000), sink))
    await sink.first.wait()
    assert local.pid is not None
    hung = local.pid
    os.kill(hung, signal.SIGSTOP)
    with pytest.raises(CallFailed) as failed:
        await call
    assert (failed.value.retry, failed.value.retry_after) == (Retry.BACK_OFF, 0.0)
    await gone(hung)
    await ready(local)
    assert local.pid != hung


# Stands for a llama.cpp whose threads are deadlocked: it answers /health, and nothing of the model.
DEADLOCKED = """
import http.server, sys, threading

class Server(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/health":
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()
        else:
            threading.Event().wait()

    def log_message(self, *_):
        pass

http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Server).serve_forever()
"""


def deadlocked(directory: Path) -> Path:
    program = directory / "llama-server"
    (directory / "server.py").write_text(DEADLOCKED)
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{directory}/server.py" "$@"\n')
    program.chmod(0o755)
    return program


@pytest.mark.kills
@pytest.mark.usefixtures("impatient")
async def test_a_model_that_does_nothing_although_it_is_healthy_is_started_anew(tmp_path: Path) -> None:
    backend = make_local(deadlocked(tmp_path))
    await backend.start()
    stuck = backend.pid
    assert stuck is not None
    await gone(stuck)
    await backend.close()


@pytest.mark.kills
@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("turns", range(4))
async def test_closed_while_it_ends_a_process_it_leaves_none(tmp_path: Path, turns: int) -> None:
    """What a test leaves is told by `tests.fixtures.leftovers`."""
    backend = make_local(deadlocked(tmp_path))
    await backend.start()
    while backend.capacity().slots:  # noqa: ASYNC110 - the very turn of the loop
        await asyncio.sleep(0)
    for _ in range(turns):
        await asyncio.sleep(0)
    await backend.close()


@pytest.mark.kills
async def test_a_model_that_does_not_start_again_is_tried_until_it_does(
    tiny_model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "model.gguf"
    os.symlink(tiny_model, file)
    backend = make_local(file)
    await backend.start()
    os.unlink(file)
    await gone(kill(backend))
    with pytest.raises(BackendUnavailable):
        await backend.check()
    async with asyncio.timeout(30):
        while sum("did not start" in each for each in caplog.messages) < 2:  # noqa: ASYNC110 - told by no event
            await asyncio.sleep(0.02)
    assert backend.capacity() == Capacity(0, STARTING)
    os.symlink(tiny_model, file)
    await ready(backend)
    assert (await backend.call(make_call(), None)).usage.completion_tokens == 8
    await backend.close()


@pytest.mark.kills
async def test_there_are_never_two_model_processes(local: LocalBackend) -> None:
    most = 0
    for _ in range(3):
        killed = kill(local)
        async with asyncio.timeout(30):
            while local.pid in (None, killed):
                servers = [each for each in psutil.Process().children() if _is_server(each)]
                most = max(most, len(servers))
                await asyncio.sleep(0.01)
        await ready(local)
    assert most == 1


def _is_server(process: psutil.Process) -> bool:
    try:
        return _runs(process.pid) and any("llama_server" in part for part in process.cmdline())
    except psutil.NoSuchProcess:
        return False


@pytest.mark.usefixtures("impatient")
async def test_a_context_that_fills_up_takes_slots(tiny_model: Path, caplog: pytest.LogCaptureFixture) -> None:
    backend = LocalBackend(tiny_model, alias="tiny", max_slots=4, idle_timeout=30, call_timeout=60)
    await backend.start()
    long = [{"role": "user", "content": "x" * 1600}]
    calls = [asyncio.create_task(backend.call(make_call(messages=long, max_tokens=200), None)) for _ in range(2)]
    async with asyncio.timeout(60):
        while backend.capacity().slots == 4:  # noqa: ASYNC110 - another process, no event
            await asyncio.sleep(0.02)
    assert backend.capacity().slots == 2
    assert "context: " in backend.capacity().reason
    await asyncio.gather(*calls)
    async with asyncio.timeout(30):
        while backend.capacity().slots == 2:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert len([each for each in caplog.messages if "of 4 slots; context" in each]) <= 2
    await backend.close()


async def test_close_leaves_no_process_and_may_come_twice(tiny_model: Path) -> None:
    backend = make_local(tiny_model)
    await backend.close()
    await backend.start()
    pid = backend.pid
    await backend.close()
    await backend.close()
    assert pid is not None
    assert not psutil.pid_exists(pid)
    with pytest.raises(BackendUnavailable):
        await backend.call(make_call(), None)
    with pytest.raises(BackendUnavailable):
        await backend.check()


PARENT = """
import asyncio, sys, uvloop
from pathlib import Path
from workernode.backends.local import LocalBackend

async def main():
    backend = LocalBackend(Path(sys.argv[1]), alias="tiny", max_slots=1, idle_timeout=30, call_timeout=60)
    await backend.start()
    print(backend.pid, flush=True)
    await asyncio.Event().wait()

uvloop.run(main())
"""


async def killed_parents_child(file: Path) -> int:
    """The model process id of a worker that was killed."""
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, str(file), stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    pid = int(await parent.stdout.readline())
    parent.kill()
    await parent.wait()
    return pid


@pytest.mark.kills
async def test_the_model_process_ends_with_a_killed_parent(tiny_model: Path) -> None:
    await gone(await killed_parents_child(tiny_model))


@pytest.fixture
def binary(tiny_model: Path, tmp_path: Path) -> Path:
    """A llama.cpp server as a program of its own, which knows nothing of our lifeline."""
    program = tmp_path / "llama-server"
    serve = f'"{sys.executable}" -P "{llama_server.__file__}" --model "{tiny_model}"'
    # The option that ours does not have is left out; its input stays open for ever.
    host = "[ \"$1 $2\" = '--host 127.0.0.1' ] || exit 2\nshift 2\n"
    program.write_text(f'#!/bin/sh\n{host}tail -f /dev/null | {serve} "$@"\n')
    program.chmod(0o755)
    return program


async def test_a_server_binary_is_served_and_stopped_with_what_it_started(binary: Path) -> None:
    backend = make_local(binary)
    await backend.start()
    assert (await backend.call(make_call(), None)).usage.completion_tokens == 8
    assert backend.pid is not None
    family = [backend.pid, *(child.pid for child in psutil.Process(backend.pid).children(recursive=True))]
    assert len(family) > 1
    await backend.close()
    for pid in family:
        await gone(pid)


@pytest.mark.kills
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a foreign program with its parent")
async def test_a_foreign_program_ends_with_a_killed_parent(tmp_path: Path, tiny_model: Path) -> None:
    program = tmp_path / "llama-server"
    serve = f'"{sys.executable}" -P "{llama_server.__file__}" --model "{tiny_model}"'
    # A pipe that is never closed stands for a program that does not read its input.
    program.write_text(f'#!/bin/sh\nshift 2\nmkfifo "$0.in"\nexec {serve} "$@" <>"$0.in"\n')
    program.chmod(0o755)
    await gone(await killed_parents_child(program))


async def test_a_broken_model_file_is_told_with_the_servers_own_words(tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(PartError, match="failed to load model"):
        await make_local(broken).start()


@pytest.mark.parametrize(("content", "reason"), [(None, "No such file"), (b"hello", "neither a GGUF file nor")])
def test_a_file_that_is_no_model_is_refused(tmp_path: Path, content: bytes | None, reason: str) -> None:
    file = tmp_path / "model"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigurationError, match=reason):
        command(file, port=1, parallel=1, threads=1, alias="m")


def test_a_llamafile_is_told_to_be_a_server(tmp_path: Path) -> None:
    file = tmp_path / "some.llamafile"
    file.write_bytes(b"MZqFpD")
    file.chmod(0o755)
    line = command(file, port=7, parallel=2, threads=1, alias="m")
    assert [str(file), "--server", "--nobrowser", "--host", "127.0.0.1", "--port", "7"] == line[-13:-6]
