"""The scripts at the root, run as people run them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.agentos.stand_ins import using, wait_gone
from tests.agentos.test_up import Running, up
from tests.fixtures.missing import missing_part
from tools.requirement import requirement

ROOT = Path(__file__).resolve().parent.parent.parent
SCRIPTS = ["start.sh", "ai.sh", "test.sh", ".ci/run"]


@pytest.mark.parametrize("script", [*SCRIPTS, "tools/environment.sh"])
def test_scripts_are_valid_bash(script: str) -> None:
    subprocess.run(["bash", "-n", ROOT / script], check=True)


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_are_executable(script: str) -> None:
    assert os.access(ROOT / script, os.X_OK)


def test_requirement_txt_follows_pyproject() -> None:
    assert (ROOT / "requirement.txt").read_text() == requirement(), "run: python tools/requirement.py"


@pytest.fixture
def tools_without(tmp_path: Path) -> Path:
    """A PATH with a shell's usual companions, and neither jo nor Python."""
    directory = tmp_path / "bin"
    directory.mkdir()
    for name in ("bash", "dirname", "cat", "cksum", "env"):
        (directory / name).symlink_to(shutil.which(name) or pytest.fail(f"no {name}"))
    return directory


@pytest.mark.parametrize(
    ("manager", "command"),
    [("apt-get", "sudo apt-get install jo"), ("brew", "brew install jo"), ("nothing", "winget install jo")],
)
def test_ai_sh_without_jo_names_the_command_that_installs_it(tools_without: Path, manager: str, command: str) -> None:
    (tools_without / manager).symlink_to("/bin/true")
    done = _run(["bash", str(ROOT / "ai.sh")], PATH=str(tools_without))
    assert done.returncode == 1
    assert done.stderr == f"jo is needed to write the request. Install it: {command}\n"


def test_start_sh_without_python_says_how_to_get_it(tools_without: Path, tmp_path: Path) -> None:
    (tools_without / "apt-get").symlink_to("/bin/true")
    done = _run(["bash", str(_checkout(tmp_path) / "start.sh")], PATH=str(tools_without))
    assert done.returncode == 1
    assert "Python 3.11 or newer is needed" in done.stderr
    assert "sudo apt-get install python3 python3-venv" in done.stderr


@pytest.mark.kills
@pytest.mark.timeout(180)
def test_ai_sh_gets_a_plain_and_a_streamed_answer(tmp_path: Path) -> None:
    if shutil.which("jo") is None:
        missing_part("ai.sh needs jo: apt-get install jo")
    with up(tmp_path / "state", "--no-local") as running:
        port = running.ready()["url"].rpartition(":")[2].removesuffix("/v1")
        plain = _run([str(ROOT / "ai.sh")], PATH=os.environ["PATH"], PORT=port)
        assert plain.returncode == 0, plain.stderr
        assert json.loads(plain.stdout)["model"] == "mock"
        assert "POST /api/v1/chat/completions" in plain.stderr  # curl -v
        streamed = _run([str(ROOT / "ai.sh"), "stream"], PATH=os.environ["PATH"], PORT=port)
        lines = [line for line in streamed.stdout.splitlines() if line]
        assert len(lines) > 2
        assert lines[-1] == "data: [DONE]"
        unknown = _run([str(ROOT / "ai.sh")], PATH=os.environ["PATH"], PORT=port, MODEL="nobody")
        assert unknown.returncode != 0
        assert "model_not_found" in unknown.stdout


@pytest.mark.kills
@pytest.mark.timeout(240)
def test_start_sh_installs_once_and_a_kill_of_the_script_leaves_nothing(tmp_path: Path) -> None:
    checkout, state = _checkout(tmp_path), tmp_path / "state"
    _environment_of_this_run(checkout / ".venv")
    for installs in (True, False):
        running = Running(state, "--no-local", command=[str(checkout / "start.sh")])
        try:
            running.ready()
            assert ("Installing AgentOS" in running.said()) == installs
            pids = running.pids()
            running.process.send_signal(signal.SIGKILL)
            assert running.ended() == -signal.SIGKILL
            assert wait_gone(pids) == []
            assert using(state) == []
        finally:
            running.close()


def _run(command: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


def _checkout(directory: Path) -> Path:
    """A copy of what is installed and of the scripts."""
    checkout = directory / "checkout"
    checkout.mkdir()
    for name in ("pyproject.toml", "README.md", "start.sh"):
        shutil.copy(ROOT / name, checkout)
    for name in ("core", "bus", "store", "policy", "workload", "workernode", "coordinator", "agentos", "tools"):
        shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
    return checkout


def _environment_of_this_run(venv: Path) -> None:
    """A virtual environment that sees the packages of this one, so that little has to be installed."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    site = next(venv.glob("lib/python*/site-packages"))
    (site / "seen.pth").write_text(sysconfig.get_path("purelib"))
