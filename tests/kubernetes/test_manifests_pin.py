"""deploy/pin, with a real registry."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import platformdirs
import pytest

from agentos.parts.pulsar import free_ports
from tests.fixtures.daemons import daemon, wait_until
from tests.fixtures.missing import missing_part
from tests.kubernetes.kubectl import DEPLOY, rendered

# The first build takes its time.
pytestmark = [
    pytest.mark.kubernetes,
    pytest.mark.long,
    pytest.mark.xdist_group("kubernetes"),
    pytest.mark.timeout(600),
]

CRANE = "github.com/google/go-containerregistry/cmd/crane"
VERSION = "0.20.6"
BUILD_SECONDS = 500


@pytest.fixture(scope="module")
def crane() -> Path:
    """A client and server of registries, built once with Go."""
    cache = platformdirs.user_cache_path("agentos") / f"crane-{VERSION}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (cache / "crane").exists():
            if shutil.which("go") is None:
                missing_part("crane: Go is missing, and it is not in the cache")
            environment = os.environ | {"GOBIN": str(cache), "GOFLAGS": "-mod=mod"}
            command = ["go", "install", "-ldflags=-s -w", f"{CRANE}@v{VERSION}"]
            built = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=BUILD_SECONDS)
            assert built.returncode == 0, built.stderr
    return cache / "crane"


@pytest.fixture
def registry(crane: Path, tmp_path: Path) -> Iterator[str]:
    """The address of an empty one."""
    address = f"127.0.0.1:{free_ports(1)[0]}"
    with contextlib.ExitStack() as stack:
        log = tmp_path / "registry.log"
        server = daemon(stack, log, str(crane), "registry", "serve", f"--address={address}")
        wait_until(lambda: "serving on port" in log.read_text(), server, log)
        yield address


@pytest.fixture
def deploy(tmp_path: Path) -> Path:
    """A copy, as a person has it."""
    return Path(shutil.copytree(DEPLOY, tmp_path / "deploy"))


def pushed(crane: Path, image: str, directory: Path) -> None:
    """An image with one file."""
    layer = directory / "layer.tar"
    with tarfile.open(layer, "w") as tar:
        tar.add(__file__, "file")
    subprocess.run([crane, "append", "--new_layer", layer, "--new_tag", image], check=True, capture_output=True)


def pin(deploy: Path, *arguments: str, crane: Path | None = None) -> subprocess.CompletedProcess[str]:
    path = f"{crane.parent}{os.pathsep}{os.environ['PATH']}" if crane else "/usr/bin:/bin"
    command = [str(deploy / "pin"), *arguments]
    return subprocess.run(command, env={"PATH": path}, capture_output=True, text=True, timeout=60)


def test_production_runs_the_digest_that_the_tag_has_now(
    deploy: Path, crane: Path, registry: str, tmp_path: Path
) -> None:
    pushed(crane, f"{registry}/team/agentos:0.1.0", tmp_path)
    said = pin(deploy, f"{registry}/team/agentos:0.1.0", crane=crane)
    assert said.returncode == 0, said.stderr
    pinned = said.stdout.strip()
    assert re.fullmatch(rf"{registry}/team/agentos@sha256:[0-9a-f]{{64}}", pinned)
    pods = [
        each["spec"]["template"]["spec"]
        for each in rendered(deploy / "overlays" / "production", tmp_path)
        if each["kind"] == "Deployment"
    ]
    containers = [each for pod in pods for each in [*pod["containers"], *pod.get("initContainers", [])]]
    assert {each["image"] for each in containers} == {pinned}
    variables = [each for container in containers for each in container["env"]]
    assert [each["value"] for each in variables if each["name"] == "AGENTOS_WORKER_IMAGE"] == [pinned]


def test_what_is_not_in_the_registry_changes_nothing(deploy: Path, crane: Path, registry: str) -> None:
    before = snapshot(deploy)
    said = pin(deploy, f"{registry}/team/agentos:gone", crane=crane)
    assert said.returncode == 1
    assert "no digest; is it pushed, and may you read it?" in said.stderr
    assert snapshot(deploy) == before


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "usage: deploy/pin IMAGE"),
        (("--help",), "usage: deploy/pin IMAGE"),
        (("localhost:5000/agentos",), "the tag is missing"),
        (("agentos@sha256:0",), "name a tag"),
    ],
)
def test_a_wrong_image_is_named(deploy: Path, arguments: tuple[str, ...], says: str) -> None:
    before = snapshot(deploy)
    said = pin(deploy, *arguments)
    assert said.returncode == 2
    assert says in said.stderr
    assert snapshot(deploy) == before


def snapshot(deploy: Path) -> str:
    return (deploy / "overlays" / "production" / "images" / "kustomization.yaml").read_text()
