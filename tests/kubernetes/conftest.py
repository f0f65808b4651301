"""What tests on a whole cluster share."""

from __future__ import annotations

import pytest

from tests.fixtures.control_plane import Node
from tests.fixtures.kubernetes import Namespace
from tests.kubernetes.workloads import Space, until


@pytest.fixture
async def space(node: Node, namespace: Namespace) -> Space:
    """A namespace whose Pods run."""
    made = Space(node.cluster, namespace.name)
    await until(lambda: made.find("serviceaccounts", "default"), "its service account")
    return made
