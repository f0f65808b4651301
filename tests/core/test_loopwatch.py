"""A loop that is blocked, seen from outside; the probe that tells what is stuck."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from starlette.applications import Starlette

from core import http
from core.errors import PartError
from core.loopwatch import LoopWatch
from core.probes import probes, serving_probes
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


SERVED: dict[str, Callable[..., AbstractAsyncContextManager[Any]]] = {
    "threads": serving_probes,
    "routes": lambda listener, ready, watch: http.serving(Starlette(routes=probes(ready, watch)), listener, grace=1),
}


@pytest.mark.parametrize("way", SERVED)
async def test_health_names_what_is_stuck_until_it_goes_on(way: str) -> None:
    async def ready() -> None:
        return None

    with LoopWatch() as watch:
        listener = http.listen("127.0.0.1", 0)
        port = listener.getsockname()[1]
        async with SERVED[way](listener, ready, watch), aiohttp.ClientSession() as session:
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


@pytest.mark.parametrize("way", SERVED)
async def test_readiness_tells_why_work_cannot_be_done(way: str) -> None:
    reasons = ["the model is loading"]

    async def ready() -> None:
        if reasons:
            raise PartError(reasons[0])

    with LoopWatch() as watch:
        listener = http.listen("127.0.0.1", 0)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with SERVED[way](listener, ready, watch), aiohttp.ClientSession() as session:
            async with session.get(url + "/ready") as response:
                assert (response.status, (await response.json())["reason"]) == (503, "the model is loading")
            reasons.clear()
            async with session.get(url + "/ready") as response:
                assert response.status == 200
            async with session.get(url + "/metrics") as response:
                assert "python_info" in await response.text()
            async with session.get(url + "/other") as response:
                assert response.status == 404


def get(url: str, after: float = 0.0) -> tuple[int, str, float]:
    """Status, body and seconds of a request by a thread."""
    time.sleep(after)
    began = time.monotonic()
    try:
        with urllib.request.urlopen(url, timeout=10) as response:
            return response.status, response.read().decode(), time.monotonic() - began
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode(), time.monotonic() - began


async def test_a_blocked_loop_delays_no_health_check_and_is_told_by_name() -> None:
    async def ready() -> None:
        return None

    with LoopWatch(tick=0.05, blocked=1.5) as watch:
        listener = http.listen("127.0.0.1", 0)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/health"
        async with serving_probes(listener, ready, watch):
            with ThreadPoolExecutor() as pool:
                early = pool.submit(get, url)
                late = pool.submit(get, url, 2.0)
                block(4.0)
                assert early.result()[:2] == (200, '{"status":"ok"}')
                status, body, _ = late.result()
            assert (status, "the event loop has not turned" in body) == (503, True)
            assert max(early.result()[2], late.result()[2]) < 1.5
