"""Ways to have calls answered: mock, remote, local."""

from __future__ import annotations

from pathlib import Path

from workernode.backends.base import Backend
from workernode.backends.local import LocalBackend
from workernode.backends.mock import MockBackend
from workernode.backends.remote import RemoteBackend
from workernode.settings import WorkerSettings


def make_backend(settings: WorkerSettings) -> Backend:
    """The backend that NODE_TYPE names, not yet started. Raises `ConfigurationError`.

    A local worker without a model file speaks to the model server that runs at API_URL already.
    """
    if settings.node_type == "mock":
        return MockBackend(settings)
    if settings.node_type == "local" and settings.model_file:
        return LocalBackend(
            Path(settings.model_file).expanduser(),
            alias=settings.model_name,
            max_slots=settings.max_process_num,
            threads=settings.model_threads,
            pooling=settings.model_pooling,
            idle_timeout=settings.idle_timeout_seconds,
            call_timeout=settings.call_timeout_seconds,
        )
    return RemoteBackend(
        settings.api_url,
        settings.api_key.get_secret_value(),
        slots=settings.max_process_num,
        idle_timeout=settings.idle_timeout_seconds,
        call_timeout=settings.call_timeout_seconds,
        node_type=settings.node_type,
    )
