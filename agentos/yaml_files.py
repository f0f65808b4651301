"""Descriptions in YAML, of which JSON is a part."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

from core.errors import ConfigurationError

# The C parser where there is one: a graph may be large.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def text_in(file: Path) -> str:
    """`-` is standard input. Raises `ConfigurationError`."""
    try:
        return sys.stdin.read() if str(file) == "-" else file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file}: {error}") from None


def value_of(text: str, file: Path) -> Any:
    """What the text says; `file` is named in errors. Raises `ConfigurationError`."""
    try:
        return yaml.load(text, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        where = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigurationError(f"{file}: no YAML{where}: {error.problem}") from None
    except (yaml.YAMLError, RecursionError):
        raise ConfigurationError(f"{file}: no YAML") from None


def line_of(text: str, pointer: str) -> int:
    """Where valid YAML holds what a JSON pointer names, or the innermost that is there. Lines count from 1."""
    node = yaml.compose(text, Loader=_LOADER)
    line = 0
    for step in pointer.split("/")[1:]:
        found = _child(node, step.replace("~1", "/").replace("~0", "~"))
        if found is None:
            break
        node, line = found
    return line + 1


def _child(node: yaml.Node | None, step: str) -> tuple[yaml.Node, int] | None:
    if isinstance(node, yaml.SequenceNode) and step.isdecimal() and int(step) < len(node.value):
        item: yaml.Node = node.value[int(step)]
        return item, item.start_mark.line
    if isinstance(node, yaml.MappingNode):
        return next(((value, key.start_mark.line) for key, value in node.value if key.value == step), None)
    return None
