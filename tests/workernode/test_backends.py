from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.errors import ConfigurationError
from workernode.backends import make_backend
from workernode.backends.local import LocalBackend
from workernode.backends.mock import MockBackend
from workernode.backends.remote import RemoteBackend
from workernode.settings import WorkerSettings


def make_settings(**fields: Any) -> WorkerSettings:
    return WorkerSettings(model_name="m", bus_url="postgresql://unused", **fields)


@pytest.mark.parametrize(
    ("fields", "kind", "slots"),
    [
        ({"node_type": "mock"}, MockBackend, 128),
        ({"node_type": "remote", "api_url": "https://api.openai.com", "max_process_num": 7}, RemoteBackend, 7),
        ({"node_type": "local", "model_file": "~/m.gguf", "max_process_num": 2}, LocalBackend, 2),
        ({"node_type": "local", "api_url": "http://127.0.0.1:9"}, RemoteBackend, 128),
    ],
)
def test_the_backend_is_the_one_that_node_type_names(fields: dict[str, Any], kind: type, slots: int) -> None:
    backend = make_backend(make_settings(**fields))
    assert isinstance(backend, kind)
    assert (backend.node_type, backend.slots) == (fields["node_type"], slots)


def test_a_model_process_does_not_serve_as_many_at_once_as_an_api() -> None:
    backend = make_backend(make_settings(node_type="local", model_file="m.gguf"))
    assert 4 <= backend.slots < 128


async def test_a_model_file_that_is_missing_is_told_at_the_start(tmp_path: Path) -> None:
    backend = make_backend(make_settings(node_type="local", model_file=str(tmp_path / "none.gguf")))
    with pytest.raises(ConfigurationError, match=r"AGENTOS_MODEL_FILE: .*none\.gguf: No such file"):
        await backend.start()
