"""Daemons: how they end, and what the exit code is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
DAEMON = """
import asyncio, os, sys
from core.errors import BusRefused
from core.run import run

async def daemon(stop):
    {body}

sys.exit(run(daemon))
"""


def start(body: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", DAEMON.format(body=body)],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_in_good_order(number: signal.Signals) -> None:
    with start("print('up'); await stop.asked.wait(); print('down')") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.send_signal(number)
        assert process.communicate(timeout=20)[0] == "down\n"
    assert process.returncode == 0


def test_a_second_signal_hurries() -> None:
    with start("print('up'); await stop.asked.wait(); print('slow'); await stop.hurry.wait()") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.terminate()
        assert process.stdout.readline() == "slow\n"
        process.terminate()
        process.communicate(timeout=20)
    assert process.returncode == 0


@pytest.mark.parametrize("how", ["raise BusRefused('no')", "raise ExceptionGroup('g', [BusRefused('no')])"])
def test_an_error_of_ours_ends_it_by_name_without_a_trace(how: str) -> None:
    with start(how) as process:
        _, stderr = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "stopped: BusRefused: no" in stderr
    assert "Traceback" not in stderr
