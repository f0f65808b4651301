"""Pipelines in files (docs/pipelines.md)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from agentos.yaml_files import line_of, text_in, value_of
from coordinator.graph.reading import reader
from coordinator.graph.references import pointer
from coordinator.graph.specs import DescriptionRefused
from core.errors import ConfigurationError
from policy.slo.pipeline import Pipeline, WrongPipeline, checked

_pipeline = reader(Pipeline)


def read_pipeline(file: Path) -> Pipeline:
    """A pipeline in YAML, its stages in order; `-` is standard input.

    Raises `ConfigurationError` with the line, the JSON pointer (RFC 6901) and what would be right there.
    """
    text = text_in(file)
    value = value_of(text, file)
    if not isinstance(value, dict):
        raise ConfigurationError(f"{file}: is no pipeline; it needs name, slo_seconds and stages (docs/pipelines.md)")
    try:
        return checked(_pipeline(_as_json(value, file)))
    except DescriptionRefused as refused:
        place, why = refused.pointer, refused.message
    except WrongPipeline as wrong:
        place, why = pointer(wrong.place), str(wrong)
    raise ConfigurationError(f"{file}: line {line_of(text, place)}: {place}: {why}")


def _as_json(value: dict[Any, Any], file: Path) -> bytes:
    try:
        return msgspec.json.encode(value)
    except (TypeError, RecursionError):
        raise ConfigurationError(f"{file}: holds what JSON cannot: a key that is no text, or a circle") from None
