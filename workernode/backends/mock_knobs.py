"""What a request itself asks of the mock backend, in its field `agentos_mock`. Pure.

{"model": "mock", "messages": […], "agentos_mock": {"bytes": 1000, "sleep_seconds": 0.5}}
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from core.errors import BadMessage
from core.randomtext import random_text

FIELD = "agentos_mock"
_Seconds = Annotated[float, msgspec.Meta(ge=0, le=86_400)]
_Words = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
# A worker holds an answer in memory more than once.
_Bytes = Annotated[int, msgspec.Meta(ge=0, le=64 * 1024 * 1024)]


class Knobs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`delay_seconds`: time to the first token, instead of the worker's own setting.

    The answer is `text`, or so many `words`, or random text of so many `bytes`; with none of them the worker's own.
    `sleep_seconds`: the least time until the answer, in which its data are made as well.
    """

    delay_seconds: _Seconds | None = None
    text: str | None = None
    words: _Words | None = None
    bytes: _Bytes | None = None
    sleep_seconds: _Seconds = 0.0

    def says(self, own: str) -> str:
        """The answer's text; `own`: the worker's."""
        if self.bytes is not None:
            return random_text(self.bytes)
        if self.words is not None:
            return " ".join(f"word{number}" for number in range(1, self.words + 1))
        return own if self.text is None else self.text


def knobs_of(body: dict[str, Any]) -> Knobs | None:
    """None where the request asks for nothing. Raises `BadMessage` that names the place."""
    asked = body.get(FIELD)
    if asked is None:
        return None
    try:
        knobs = msgspec.convert(asked, Knobs)
    except msgspec.ValidationError as error:
        what, _, place = str(error).partition(" - at `$")
        raise BadMessage(f"'{FIELD}{place.rstrip('`')}': {what}.") from None
    if sum(each is not None for each in (knobs.text, knobs.words, knobs.bytes)) > 1:
        raise BadMessage(f"'{FIELD}': holds more than one of text, words and bytes.")
    return knobs
