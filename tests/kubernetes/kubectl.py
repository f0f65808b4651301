"""What a person does with `kubectl`, on the tests' cluster, and the definition of AIModels in it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from core.errors import PartError
from tests.fixtures.kube_binaries import KUBECTL, binaries
from tests.fixtures.kubernetes import Cluster
from tests.fixtures.missing import missing_part

DEPLOY = Path(__file__).parents[2] / "deploy"
# kubectl waits for deletions and the like as long as it is let.
SECONDS = 60


class KubectlError(Exception):
    """What kubectl has written to its standard error before it ended with a code that is not 0."""


class Kubectl:
    """kubectl with one user's KUBECONFIG."""

    def __init__(self, kubeconfig: Path, binary: Path) -> None:
        self._binary = binary
        self._kubeconfig = kubeconfig
        # What it has found out about the server is kept beside: tests leave nothing in the home directory.
        self._environment = os.environ | {"HOME": str(kubeconfig.parent), "KUBECONFIG": str(kubeconfig)}

    def of(self, kubeconfig: Path) -> Kubectl:
        """The same for another user."""
        return Kubectl(kubeconfig, self._binary)

    async def __call__(self, *arguments: str, given: str = "") -> str:
        """What it writes to its standard output; `given` is its input (`-f -`). Raises `KubectlError`."""
        said, _ = await self.both(*arguments, given=given)
        return said

    async def both(self, *arguments: str, given: str = "") -> tuple[str, str]:
        """Its standard output, and its standard error, where warnings are. Raises `KubectlError`."""
        return await asyncio.to_thread(self.run, *arguments, given=given)

    def run(self, *arguments: str, given: str = "") -> tuple[str, str]:
        """As `both`; blocks."""
        ended = subprocess.run(
            [self._binary, *arguments],
            input=given,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        if ended.returncode:
            raise KubectlError(f"kubectl {' '.join(arguments)}: {ended.stderr}")
        return ended.stdout, ended.stderr


def program() -> Path:
    """kubectl itself. Skips where it cannot be had."""
    try:
        return binaries(lambda text: sys.stderr.write(f"{text}\n"))[KUBECTL]
    except PartError as error:
        missing_part(f"kubectl: {error}")


def rendered(directory: Path, scratch: Path) -> list[dict[str, Any]]:
    """The objects of a directory of deploy/, as `kubectl apply -k` would send them."""
    said, _ = Kubectl(scratch / "nobody", program()).run("kustomize", str(directory))
    return list(yaml.safe_load_all(said))


@pytest.fixture(scope="session")
def kubectl(cluster: Cluster) -> Kubectl:
    """As the cluster's administrator."""
    return Kubectl(cluster.kubeconfig(), program())


@pytest.fixture(scope="session")
def aimodels(cluster: Cluster, kubectl: Kubectl) -> None:
    """The cluster knows AIModels, by the product's own definition, and lets workers create Events."""
    kubectl.run("apply", "-f", str(DEPLOY / "base" / "crd.yaml"), "-f", str(DEPLOY / "base" / "worker-events.yaml"))
    kubectl.run("wait", "--for=condition=Established", "crd/aimodels.model.youxam.com", f"--timeout={SECONDS}s")
    while cluster.find("/apis/model.youxam.com/v1alpha1/aimodels") is None:  # a moment more
        time.sleep(0.1)
