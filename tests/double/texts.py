"""What the double makes of the texts of a text completion or of embeddings. A word is a token."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from typing import Any, TypeAlias

Text: TypeAlias = "str | list[int]"

# By default; a request may ask for another number.
DIMENSIONS = 8
# As OpenAI's: https://platform.openai.com/docs/api-reference/embeddings/create
MOST_TEXTS = 2048
MOST_TOKENS = 8192


def texts_of(body: dict[str, Any]) -> list[Text]:
    """Each text, or each list of tokens, by itself."""
    given = body["prompt"] if "prompt" in body else body["input"]
    return [given] if isinstance(given, str) or not isinstance(given[0], str | list) else given


def tokens_of(text: Text) -> int:
    """How long it is."""
    return len(text.split() if isinstance(text, str) else text)


def vector(text: Text, dimensions: int = DIMENSIONS) -> list[float]:
    """The embedding of a text: the same each time, another for each. Its numbers are floats of 32 bits."""
    bits = hashlib.shake_256(json.dumps(text).encode()).digest(2 * dimensions)
    return [number / 2**15 for number in struct.unpack(f"<{dimensions}h", bits)]


def embeddings(body: dict[str, Any]) -> list[dict[str, Any]]:
    """The `data` of an answer, in the encoding that was asked for."""
    found = [vector(text, body.get("dimensions", DIMENSIONS)) for text in texts_of(body)]
    coded = map(_base64, found) if body.get("encoding_format") == "base64" else found
    return [{"object": "embedding", "index": index, "embedding": each} for index, each in enumerate(coded)]


def wrong_texts(body: dict[str, Any]) -> str | None:
    """What is wrong with the texts, by OpenAI's rules."""
    if body["prompt" if "prompt" in body else "input"] in (None, []):
        return "There must be a text."
    texts = texts_of(body)
    if len(texts) > MOST_TEXTS:
        return f"At most {MOST_TEXTS} texts may be, here are {len(texts)}."
    if "input" in body and not all(texts):
        return "'$.input' is invalid."
    longest = max(map(tokens_of, texts))
    return f"The longest text may have {MOST_TOKENS} tokens, here are {longest}." if longest > MOST_TOKENS else None


def _base64(numbers: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()
