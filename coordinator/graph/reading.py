"""JSON that strangers send becomes structures; what is wrong is told with its place, as a JSON pointer. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

import msgspec

from coordinator.graph.references import Place
from coordinator.graph.specs import DescriptionRefused

Shape = TypeVar("Shape", bound=msgspec.Struct)

# Where the decoder says that something is; keys of objects without fixed fields are not told: `[...]`.
_PLACE = re.compile(r"`\$([^`]*)`$")
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+)\]")
_FIELD = re.compile(r"Object (missing required|contains unknown) field `(.*)`", re.DOTALL)
# What would be right, where the decoder would answer with a pattern, or with what was sent.
_ASKS_FOR_MORE = ("Expected `str` matching regex", "Invalid enum value")
_RIGHT = {
    "id": "An id has 1 to 64 of the characters A-Z, a-z, 0-9, '_' and '-'",
    "model": "A model's name has 1 to 256 characters and no control characters",
    "user": "A user's name has at most 256 characters and no control characters",
    "on_failure": "on_failure is 'stop' or 'continue'",
}


def reader(shape: type[Shape]) -> Callable[[bytes], Shape]:
    """Reads `shape`; raises `DescriptionRefused`."""
    decoder = msgspec.json.Decoder(shape)

    def read(body: bytes) -> Shape:
        try:
            body.decode()
            return decoder.decode(body)
        except msgspec.ValidationError as error:
            raise _refused(str(error)) from None
        except UnicodeDecodeError as error:
            message = f"The body is not valid JSON: {error.reason} at byte {error.start}, where UTF-8 is expected."
            raise DescriptionRefused((), message) from None
        except msgspec.DecodeError as error:
            raise DescriptionRefused((), f"The body is not valid JSON: {error}.") from None
        except RecursionError:
            raise DescriptionRefused((), "Arrays and objects are nested too deep.") from None

    return read


def _refused(problem: str) -> DescriptionRefused:
    what, _, where = problem.partition(" - at ")
    place = _place(where)
    if field := _FIELD.fullmatch(what):
        missing = field[1] == "missing required"
        message = f"{field[2]} is missing." if missing else "This field is not known here; leave it out."
        return DescriptionRefused((*place, field[2]), message)
    if what.startswith(_ASKS_FOR_MORE) and place and (right := _RIGHT.get(str(place[-1]))):
        what = right
    return DescriptionRefused(place, f"{what}.")


def _place(where: str) -> Place:
    found = _PLACE.search(where)
    if found is None:
        return ()
    known, _, _ = found[1].partition("[...]")
    return tuple(int(number) if number else name for name, number in _STEP.findall(known))
