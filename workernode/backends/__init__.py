"""Ways to have calls answered: mock, remote, local."""

from __future__ import annotations

from workernode.backends.base import Backend
from workernode.backends.mock import MockBackend
from workernode.settings import WorkerSettings


def make_backend(settings: WorkerSettings) -> Backend:
    """The backend that NODE_TYPE names, not yet started. Raises `ConfigurationError`."""
    return MockBackend(settings)
