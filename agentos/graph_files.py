"""Graphs in files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

from core.errors import ConfigurationError


def read_graph(file: Path) -> dict[str, Any]:
    """A description in YAML, of which JSON is a part; `-` is standard input. Raises `ConfigurationError`."""
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file}: {error}") from None
    try:
        graph = yaml.load(text, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        where = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigurationError(f"{file}: no YAML{where}: {error.problem}") from None
    except yaml.YAMLError:
        raise ConfigurationError(f"{file}: no YAML") from None
    if not isinstance(graph, dict):
        raise ConfigurationError(f"{file}: is no graph; it needs `nodes:`, a list (docs/tasks.md)")
    return graph


# The C parser where there is one: a graph may be large.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
