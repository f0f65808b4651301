"""A helper process's side of the talk with the bench: its configuration is its argument, then lines of JSON."""

from __future__ import annotations

import sys
from typing import Any

import msgspec


def configuration() -> dict[str, Any]:
    """What the bench starts this process with."""
    given: dict[str, Any] = msgspec.json.decode(sys.argv[1])
    return given


def told() -> dict[str, Any] | None:
    """The bench's next line; None when it says no more. Blocks."""
    line = sys.stdin.buffer.readline()
    return msgspec.json.decode(line) if line else None


def say(**fields: object) -> None:
    """A line to the bench."""
    sys.stdout.buffer.write(msgspec.json.encode(fields) + b"\n")
    sys.stdout.buffer.flush()
