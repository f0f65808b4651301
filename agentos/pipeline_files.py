"""Pipelines in files (docs/pipelines.md)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from agentos.yaml_files import line_of, text_in, value_of
from coordinator.graph.specs import DescriptionRefused
from coordinator.pipelines import template
from core.errors import ConfigurationError
from policy.slo.pipeline import Pipeline


def read_pipeline(file: Path) -> Pipeline:
    """A pipeline in YAML, checked as a gateway checks it, its stages in order; `-` is standard input.

    Raises `ConfigurationError` with the line, the JSON pointer (RFC 6901) and what would be right there.
    """
    text = text_in(file)
    value = value_of(text, file)
    if not isinstance(value, dict):
        raise ConfigurationError(f"{file}: is no pipeline; it needs name, slo_seconds and stages (docs/pipelines.md)")
    try:
        return _checked(value, file)
    except DescriptionRefused as refused:
        line = line_of(text, refused.pointer)
        raise ConfigurationError(f"{file}: line {line}: {refused.pointer}: {refused.message}") from None


def _checked(value: dict[Any, Any], file: Path) -> Pipeline:
    if "name" not in value:
        raise DescriptionRefused(("name",), "name is missing.")
    try:
        body = msgspec.json.encode(value)
    except (TypeError, RecursionError):
        raise ConfigurationError(f"{file}: holds what JSON cannot: a key that is no text, or a circle") from None
    return template.read_pipeline(value["name"], body).pipeline
