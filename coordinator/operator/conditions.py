"""Conditions of a status, and when each began to hold. Pure.

https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/api-conventions.md
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple

Object = dict[str, Any]


class Condition(NamedTuple):
    """`reason`: one word in CamelCase; `message`: for a person."""

    type: str
    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str


def written(
    conditions: Iterable[Condition], before: Iterable[Mapping[str, Any]], generation: int, now: float
) -> list[Object]:
    """As the status holds them. A condition whose `status` is as it was keeps the time of its last transition."""
    raise NotImplementedError
