"""Spans: the steps of a trace, what each request went through.

Without a collector no span is made; a trace that a client has begun is passed on all the same
(https://www.w3.org/TR/trace-context). Attributes are names, counts and durations of the
semantic conventions (https://opentelemetry.io/docs/specs/semconv/gen-ai); never content.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, Protocol

Kind = Literal["server", "producer", "consumer", "client"]
Attributes = Mapping[str, str | int | float | None]

TRACEPARENT = "traceparent"
_WELL_FORMED = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


class Span(Protocol):
    """One step of a trace. `traceparent`: what the next step takes as its parent; None outside of any trace.

    `recording`: whether anybody will see it; if not, attributes need not be gathered.
    """

    traceparent: str | None
    recording: bool

    def set(self, attributes: Attributes) -> None:
        """Adds attributes; those that are None are left out."""

    def end(self, error: str | None = None) -> None:
        """`error`: why it failed, a name of few (`error.type`). A span that is not ended is not told."""


class Tracing(Protocol):
    """Where spans come from."""

    def begin(self, name: str, kind: Kind, attributes: Attributes, parent: str | None) -> Span:
        """A span that begins now. `parent`: the traceparent it continues; without one it begins a trace."""

    async def close(self) -> None:
        """Tells what has not been told yet, within a few seconds."""


class NoSpan:
    """Passes on the trace it was given, if any."""

    __slots__ = ("traceparent",)
    recording = False

    def __init__(self, traceparent: str | None) -> None:
        self.traceparent = traceparent

    def set(self, attributes: Attributes) -> None:
        """Nobody looks."""

    def end(self, error: str | None = None) -> None:
        """Nobody looks."""


NO_SPAN = NoSpan(None)


class NoTracing:
    """There is no collector."""

    def begin(self, name: str, kind: Kind, attributes: Attributes, parent: str | None) -> Span:
        return NO_SPAN if parent is None else NoSpan(parent)

    async def close(self) -> None:
        """Nothing to tell."""


NO_TRACING = NoTracing()


def traceparent_of(text: str | None) -> str | None:
    """A traceparent that came from outside; None unless it is well-formed."""
    return text if text and _WELL_FORMED.fullmatch(text) else None
