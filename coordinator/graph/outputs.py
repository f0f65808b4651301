"""What a reference takes out of a response, a document or an item of a list. Pure. Errors never tell content."""

from __future__ import annotations

from functools import lru_cache
from itertools import islice
from typing import Any

import msgspec
from jsonpath import JSONPath, JSONPathEnvironment, JSONPathError

from core.errors import AgentOSError

# Characters of a path, and its matches; more are a mistake, or an attack.
MAX_PATH = 1000
MAX_MATCHES = 100_000


class Unresolved(AgentOSError):
    """There is no value. The reason, for a person."""


class Outputs(list[Any]):
    """The outputs of a `for_each` node's instances: in text they stand apart, where another list is JSON."""


class _Paths(JSONPathEnvironment):
    """RFC 9535 without its regular expressions: one that a stranger wrote could keep the whole coordinator busy."""

    def setup_function_extensions(self) -> None:
        super().setup_function_extensions()
        for name in ("match", "search"):
            del self.function_extensions[name]


_paths = _Paths(strict=True)


@lru_cache(maxsize=4096)
def compiled(path: str) -> JSONPath | None:
    """A path, ready to use; None if it is no JSONPath, or a very long one."""
    if len(path) > MAX_PATH:
        return None
    try:
        query = _paths.compile(path)
    except JSONPathError:
        return None
    return query if isinstance(query, JSONPath) else None


def parsed(text: str) -> Any:
    """A JSON text. Raises `Unresolved`."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        raise Unresolved("what it names is not a JSON text") from None


def select(path: str, value: Any) -> Any:
    """What `path` finds: one match is the value, several are a list. Raises `Unresolved`."""
    found = _matches(path, value)
    if not found:
        raise Unresolved("its path finds nothing")
    return found[0] if len(found) == 1 else found


def select_list(path: str, value: Any) -> Any:
    """The list at `path`; of a path that may find many values (RFC 9535: no singular query), all of them."""
    query = compiled(path)
    return select(path, value) if query is None or query.singular_query() else _matches(path, value)


def as_text(value: Any) -> str:
    """A value inside other text: strings as they are, else JSON; outputs with a blank line between them."""
    if isinstance(value, Outputs):
        return "\n\n".join(map(as_text, value))
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _matches(path: str, value: Any) -> list[Any]:
    query = compiled(path)
    if query is None:
        raise Unresolved("its path is not a JSONPath")
    if isinstance(value, str):
        # The library would parse a string as JSON once more.
        return [] if query.segments else [value]
    try:
        found = [match.obj for match in islice(query.finditer(value), MAX_MATCHES + 1)]
    except JSONPathError:
        raise Unresolved("its path goes too deep") from None
    if len(found) > MAX_MATCHES:
        raise Unresolved(f"its path finds more than {MAX_MATCHES} values")
    return found
