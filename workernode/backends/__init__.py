"""Ways to have calls answered: mock, remote, local."""

from __future__ import annotations

from workernode.backends.base import Backend
from workernode.backends.mock import MockBackend
from workernode.backends.remote import RemoteBackend
from workernode.settings import WorkerSettings


def make_backend(settings: WorkerSettings) -> Backend:
    """The backend that NODE_TYPE names, not yet started. Raises `ConfigurationError`."""
    if settings.node_type == "mock":
        return MockBackend(settings)
    return RemoteBackend(
        settings.api_url,
        settings.api_key.get_secret_value(),
        slots=settings.max_process_num,
        idle_timeout=settings.idle_timeout_seconds,
        call_timeout=settings.call_timeout_seconds,
    )
