"""The Dockerfile's steps, done in a clean folder: no Docker engine can be assumed where the tests run."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from agentos.readiness import free_port, wait_until_ready
from tests.agentos.stand_ins import using, wait_gone
from tests.agentos.test_up import ask

ROOT = Path(__file__).resolve().parent.parent.parent
# Absolute paths of the image that the steps write to or read from.
PLACES = re.compile(r"(?<![\w.])/(?=(?:opt|src|app|home)\b)")
# Done by an engine as root, and of no use in a folder.
SKIPPED = ("useradd ", "apt-get ")

pytestmark = [pytest.mark.kills, pytest.mark.timeout(300), pytest.mark.xdist_group("dockerfile")]


def instructions() -> list[tuple[str, str]]:
    """Instruction and arguments, without comments, with continued lines joined."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.partition(" ")[0], line.partition(" ")[2].strip()) for line in lines]


@dataclass
class Image:
    """A folder that stands for the image's root."""

    root: Path
    cwd: Path
    environment: dict[str, str] = field(default_factory=dict)
    command: list[str] = field(default_factory=list)
    healthcheck: list[str] = field(default_factory=list)

    def path(self, text: str) -> str:
        """`text` with the image's paths below the folder."""
        return PLACES.sub(f"{self.root}/", text)

    def do(self, instruction: str, arguments: str) -> None:
        """Carries out one instruction."""
        match instruction:
            case "FROM":
                assert arguments.startswith("python:3.11-slim")
                self.environment = {"PATH": f"{self.root}/base:/usr/bin:/bin", "HOME": str(self.root / "home")}
                self.environment["PIP_NO_COMPILE"] = "1"  # half of an installation's time
            case "WORKDIR":
                self.cwd = Path(self.path(arguments))
                self.cwd.mkdir(parents=True, exist_ok=True)
            case "COPY" if not arguments.startswith("--from="):  # the stages share the folder
                self._copy(*arguments.split())
            case "RUN" if not arguments.startswith(SKIPPED):
                done = subprocess.run(
                    ["bash", "-c", self.path(arguments)],
                    cwd=self.cwd,
                    env=self.environment,
                    capture_output=True,
                    text=True,
                )
                assert done.returncode == 0, done.stderr
            case "ENV":
                name, _, value = arguments.partition("=")
                self.environment[name] = self.path(value).replace("$PATH", self.environment["PATH"])
            case "CMD":
                self.command = json.loads(arguments)
            case "HEALTHCHECK":
                self.healthcheck = json.loads(arguments.partition("CMD ")[2])

    def _copy(self, *names: str) -> None:
        target = self.cwd / self.path(names[-1])
        target.mkdir(parents=True, exist_ok=True)
        for name in names[:-1]:
            for source in context() if name == "." else [ROOT / name]:
                if source.is_dir():
                    shutil.copytree(source, target / source.name, ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    shutil.copy(source, target)


def context() -> list[Path]:
    """What .dockerignore lets through to the engine."""
    rules = (ROOT / ".dockerignore").read_text().splitlines()
    return [ROOT / rule[1:] for rule in rules if rule.startswith("!")]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """The image after every instruction, made with a plain Python and nothing else of this environment."""
    root = tmp_path_factory.mktemp("image")
    (root / "base").mkdir()
    (root / "base" / "python").symlink_to(Path(sys.base_prefix, "bin", "python3"))
    made = Image(root, root)
    for instruction, arguments in instructions():
        made.do(instruction, arguments)
    return made


@contextmanager
def container(image: Image, port: int, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    """Runs the image's command until the block ends."""
    environment = image.environment | {"PORT": str(port)} | variables
    command = [shutil.which(image.command[0], path=environment["PATH"]) or "", *image.command[1:]]
    with subprocess.Popen(command, cwd=image.cwd, env=environment, start_new_session=True) as process:
        try:
            wait_healthy(image, environment, process)
            yield process
        finally:
            process.send_signal(signal.SIGTERM)  # as docker stop
            assert process.wait(60) == 0
    assert wait_gone(using(image.root)) == []


def wait_healthy(image: Image, environment: dict[str, str], process: subprocess.Popen[bytes]) -> None:
    """Waits until the image's own health check passes."""
    command = [shutil.which(image.healthcheck[0], path=environment["PATH"]) or "", *image.healthcheck[1:]]
    for _ in range(200):
        assert process.poll() is None
        if subprocess.run(command, env=environment, cwd=image.cwd, capture_output=True).returncode == 0:
            return
    pytest.fail("the health check never passed")


def test_it_has_two_stages_no_root_and_no_compiler() -> None:
    steps = instructions()
    last = steps[[step[0] for step in steps].index("FROM", 1) :]
    assert [step[0] for step in steps].count("FROM") == 2
    assert ("USER", "10001:10001") in last
    assert [arguments for name, arguments in last if name == "RUN" and "pip" in arguments] == []
    assert not re.search(r"gcc|build-essential|g\+\+", (ROOT / "Dockerfile").read_text())


def test_its_context_is_all_there() -> None:
    assert [path for path in context() if not path.exists()] == []


@pytest.mark.pulsar
def test_as_the_seed_starts_it_it_answers_on_port_by_way_of_pulsar(
    image: Image, pulsar_address: dict[str, str]
) -> None:
    port = free_port("127.0.0.1", 0)
    with container(
        image, port, PULSAR_URL=pulsar_address["pulsar_url"], PULSAR_TOKEN="", RES_TOPIC_NAME=f"res-{port}"
    ):
        url = f"http://127.0.0.1:{port}"
        asyncio.run(wait_until_ready(url, ["mock"]))
        assert ask(f"{url}/api/v1", "mock")["object"] == "chat.completion"


def test_with_a_node_type_it_is_a_worker(image: Image, empty_database: str) -> None:
    port = free_port("127.0.0.1", 0)
    variables = {"NODE_TYPE": "mock", "MODEL_NAME": "m", "AGENTOS_BUS_URL": empty_database}
    with container(image, port, **variables) as process:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as metrics:
            assert metrics.status == 200
        assert using(image.root) == [process.pid]
