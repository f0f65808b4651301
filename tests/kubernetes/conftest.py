"""What tests on a whole cluster share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.control_plane import Node
from tests.fixtures.kubernetes import Cluster, Namespace
from tests.kubernetes.operator_process import Bench
from tests.kubernetes.workloads import Space, until


@pytest.fixture
async def space(node: Node, namespace: Namespace) -> Space:
    """A namespace whose Pods run."""
    made = Space(node.cluster, namespace.name)
    await until(lambda: made.find("serviceaccounts", "default"), "its service account")
    return made


@pytest.fixture
def bench(control_plane: Cluster, namespace: Namespace, aimodels: None, tmp_path: Path) -> Iterator[Bench]:
    """A namespace with operators and AIModels of a test's own, and Kubernetes' controllers."""
    made = Bench(control_plane, namespace.name, tmp_path)
    yield made
    made.close()
