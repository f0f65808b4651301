"""Graphs in files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agentos.yaml_files import text_in, value_of
from core.errors import ConfigurationError


def read_graph(file: Path) -> dict[str, Any]:
    """A description in YAML; `-` is standard input. Raises `ConfigurationError`."""
    graph = value_of(text_in(file), file)
    if not isinstance(graph, dict):
        raise ConfigurationError(f"{file}: is no graph; it needs `nodes:`, a list (docs/tasks.md)")
    return graph
