"""A loop that is blocked, seen from outside; the probe that tells what is stuck."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import aiohttp
import pytest
from starlette.applications import Starlette

from core import http
from core.loopwatch import LoopWatch
from core.probes import probes
from tests.fixtures.fleet import until

ROOT = Path(__file__).parent.parent.parent


def block(seconds: float) -> None:
    time.sleep(seconds)


async def test_a_blocked_loop_is_logged_once_with_its_place(caplog: pytest.LogCaptureFixture) -> None:
    with LoopWatch(tick=0.02, blocked=0.2):
        block(1.0)
        await until(lambda: "turns again" in caplog.text, "the watch sees the loop turn")
    told = [record.getMessage() for record in caplog.records if record.levelname == "CRITICAL"]
    assert len(told) == 1
    assert "core/test_loopwatch.py:" in told[0]


async def test_a_loop_that_turns_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    with LoopWatch(tick=0.01, blocked=5) as watch:
        began = asyncio.get_running_loop().time()
        await asyncio.sleep(0.1)
        assert watch.fence.slept(began) < 5
    assert caplog.text == ""


STOPPED = """
import asyncio, sys
from core import log
from core.loopwatch import LoopWatch, now

async def main():
    with LoopWatch(tick=0.05, blocked=0.5) as watch:
        watch.fence.limit = 0.5
        began = now()
        await asyncio.sleep(0.1)
        print(watch.fence.passed(began, now()), flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        print(watch.fence.passed(began, now()), flush=True)
        await asyncio.sleep(0.2)
        print(watch.fence.passed(began, now()), flush=True)

log.set_up(debug=False)
asyncio.run(main())
"""


def test_a_stopped_process_is_fenced_when_it_goes_on_and_its_loop_is_not_blamed() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STOPPED],
        cwd=ROOT,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "False\n"
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)
        time.sleep(1.5)
        process.send_signal(signal.SIGCONT)
        stdout, stderr = process.communicate("go\n", timeout=20)
    assert stdout == "True\nTrue\n"
    assert "stood still for" in stderr
    assert "is blocked" not in stderr


async def test_health_names_what_is_stuck_until_it_goes_on() -> None:
    async def ready() -> None:
        return None

    with LoopWatch() as watch:
        listener = http.listen("127.0.0.1", 0)
        port = listener.getsockname()[1]
        app = Starlette(routes=probes(ready, watch.liveness))
        async with http.serving(app, listener, grace=1), aiohttp.ClientSession() as session:
            url = f"http://127.0.0.1:{port}/health"
            async with session.get(url) as response:
                assert response.status == 200
            beat = watch.liveness.expect("the consumer", silence=0)
            async with session.get(url) as response:
                assert response.status == 503
                assert "the consumer has shown no progress" in (await response.json())["reason"]
            beat.silence = 60
            async with session.get(url) as response:
                assert response.status == 200
