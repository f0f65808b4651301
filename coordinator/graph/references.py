"""References `${{ … }}` in the strings of a node's body: found once, filled in from the outputs of other nodes. Pure.

    ${{ draft }}                     output text of the node draft
    ${{ draft $.steps[0] }}          that text parsed as JSON, by JSONPath (RFC 9535)
    ${{ draft.response $.usage }}    into the whole response
    ${{ document:12 }}               content of the document doc_12; a path is applied to it parsed as JSON
    ${{ item }} ${{ item $.name }} ${{ index }}    in the instances of a `for_each` node
    $${{                             the text ${{

A string that is one reference and nothing else becomes the value; inside other text a value becomes text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from coordinator.graph.outputs import Outputs, Unresolved, as_text, compiled
from core.errors import AgentOSError, BadMessage

# Levels of arrays and objects in a body. What reads and writes JSON recurses.
MAX_DEPTH = 100
# Ids that would be taken for something else in a reference.
RESERVED = frozenset({"item", "index"})

Place = tuple[str | int, ...]

_MARK = re.compile(r"\$?\$\{\{")
# Up to }} outside of quotes. Possessive: text without an end is read once, not once a character.
_INSIDE = re.compile(r"""((?:[^'"}]|'(?:[^'\\]|\\.)*+'|"(?:[^"\\]|\\.)*+"|\}(?!\}))*+)\}\}""", re.DOTALL)
_REFERENCE = re.compile(
    r"\s*(?:document:(?P<document>[0-9]{1,18})|(?P<name>[A-Za-z0-9_-]{1,64})(?P<whole>\.response)?)"
    r"(?:\s+(?P<path>\$.*?))?\s*",
    re.DOTALL,
)


class BadReference(BadMessage):
    """What is written is no reference. `place`: where in the body. Says what would be right, never what is there."""

    def __init__(self, place: Place, message: str) -> None:
        super().__init__(message)
        self.place = place


class ReferenceFailed(AgentOSError):
    """A reference cannot be filled in, now or ever. `pointer`: where in the body (RFC 6901)."""

    CODE = "reference_failed"

    def __init__(self, pointer: str, reason: str) -> None:
        super().__init__(f"the reference at {pointer} cannot be filled in: {reason}")
        self.pointer = pointer
        self.reason = reason

    @property
    def error(self) -> dict[str, Any]:
        """The inside of an OpenAI error object."""
        return {"message": str(self), "type": "invalid_request_error", "param": self.pointer, "code": self.CODE}


@dataclass(frozen=True, slots=True)
class Reference:
    """`name`: of a node. `number`: of a document. `whole`: into the response, not its text. `path`: a JSONPath."""

    kind: Literal["node", "document", "item", "index"]
    name: str = ""
    number: int = 0
    whole: bool = False
    path: str | None = None


@dataclass(frozen=True, slots=True)
class Slot:
    """A string with references. `parts`: its text and references, in order."""

    place: Place
    parts: tuple[str | Reference, ...]

    @property
    def only(self) -> Reference | None:
        """The reference that is the whole string."""
        return self.parts[0] if len(self.parts) == 1 and isinstance(self.parts[0], Reference) else None

    @property
    def references(self) -> Iterator[Reference]:
        """Without the text between them."""
        return (part for part in self.parts if isinstance(part, Reference))


def pointer(place: Sequence[str | int]) -> str:
    """A JSON pointer (RFC 6901)."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in place)


def find(body: dict[str, Any]) -> tuple[Slot, ...]:
    """Every string of a body that is not plain text. Raises `BadReference`, also for a body that is too deep."""
    return tuple(Slot(place, split(text, place)) for place, text in _marked(body))


def split(text: str, place: Place = ()) -> tuple[str | Reference, ...]:
    """A string's text and references. Raises `BadReference` with this `place`."""
    parts: list[str | Reference] = []
    plain: list[str] = []
    at = 0
    while (mark := _MARK.search(text, at)) is not None:
        plain.append(text[at : mark.start()])
        at = mark.end()
        if mark[0] == "$${{":
            plain.append("${{")
            continue
        inside = _INSIDE.match(text, at)
        if inside is None:
            raise BadReference(
                place, "'${{' begins a reference that has no end: write '}}', or '$${{' for the text '${{'"
            )
        parts += ["".join(plain), _reference(inside[1], place)]
        plain, at = [], inside.end()
    parts.append("".join((*plain, text[at:])))
    return tuple(part for part in parts if part)


def fill(body: dict[str, Any], slots: Sequence[Slot], value: Callable[[Reference], Any]) -> dict[str, Any]:
    """The body with its references replaced. `value` raises `Unresolved`; this raises `ReferenceFailed`.

    What holds no reference is shared with `body`.
    """
    filled = dict(body)
    copied: dict[Place, Any] = {(): filled}
    for slot in slots:
        try:
            new = _filled(slot, value)
        except Unresolved as error:
            raise ReferenceFailed(pointer(slot.place), str(error)) from None
        _own(copied, slot.place[:-1])[slot.place[-1]] = new
    return filled


def _marked(body: dict[str, Any]) -> Iterator[tuple[Place, str]]:
    waiting: list[tuple[Place, Any]] = [((), body)]
    while waiting:
        place, container = waiting.pop()
        if len(place) > MAX_DEPTH:
            raise BadReference((), f"arrays and objects are nested more than {MAX_DEPTH} levels deep")
        for step, value in container.items() if isinstance(container, dict) else enumerate(container):
            if isinstance(value, str):
                if "${{" in value:
                    yield (*place, step), value
            elif isinstance(value, dict | list):
                waiting.append(((*place, step), value))


def _reference(inside: str, place: Place) -> Reference:
    match = _REFERENCE.fullmatch(inside)
    if match is None:
        raise BadReference(
            place,
            "between '${{' and '}}' stands a node's id, <id>.response, document:<number>, item or index, "
            "then, after a space, a JSONPath that begins with '$' if any",
        )
    path = match["path"]
    if path is not None and compiled(path) is None:
        raise BadReference(
            place,
            "a reference's path is a JSONPath (RFC 9535; at most 1,000 characters, without match and search)",
        )
    if match["document"] is not None:
        return Reference("document", number=int(match["document"]), path=path)
    name, whole = match["name"], match["whole"] is not None
    if name not in RESERVED:
        return Reference("node", name, whole=whole, path=path)
    if whole or (name == "index" and path is not None):
        raise BadReference(place, "'item' may have a path and nothing else, 'index' stands alone")
    return Reference("item" if name == "item" else "index", path=path)


def _filled(slot: Slot, value: Callable[[Reference], Any]) -> Any:
    if (only := slot.only) is not None:
        found = value(only)
        return list(found) if isinstance(found, Outputs) else found
    return "".join(part if isinstance(part, str) else as_text(value(part)) for part in slot.parts)


def _own(copied: dict[Place, Any], place: Place) -> Any:
    """The container at `place`, copied once: what is filled in must not change the description."""
    if place not in copied:
        parent = _own(copied, place[:-1])
        parent[place[-1]] = copied[place] = parent[place[-1]].copy()
    return copied[place]
