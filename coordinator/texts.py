"""What a text completion or embeddings are made of: a text or a list of tokens, or a list of either. Pure."""

from __future__ import annotations

from typing import Any

RIGHT = "must be a string, a list of strings, a list of token numbers, or a list of such lists; no list may be empty"


def are_texts(value: Any) -> bool:
    """Whether it is what `RIGHT` says."""
    return isinstance(value, str) or (isinstance(value, list) and _is_right(value))


def _is_right(members: list[Any]) -> bool:
    kinds = set(map(type, members))
    return kinds in ({str}, {int}) or (kinds == {list} and all(set(map(type, each)) == {int} for each in members))
