"""The output of a call: what is taken for the text of its response, by references, results and clients. Pure."""

from __future__ import annotations

import msgspec


class _Message(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    message: _Message | None = None
    text: str | None = None


class _Completion(msgspec.Struct):
    choices: list[_Choice]


class _Embedding(msgspec.Struct):
    embedding: msgspec.Raw


class _Embeddings(msgspec.Struct):
    data: list[_Embedding]


_completion = msgspec.json.Decoder(_Completion)
_embeddings = msgspec.json.Decoder(_Embeddings)


def output_text(response: str | bytes) -> str:
    """The text of a completion's first choice, of a chat ("" where it is null) or of a prompt; the JSON of an
    embedding, or of the list of them where there are several; of anything else, the whole.
    """
    found = _said(response)
    if found is None:
        found = _embedded(response)
    if found is None:
        return response if isinstance(response, str) else response.decode()
    return found


def _said(response: str | bytes) -> str | None:
    try:
        choices = _completion.decode(response).choices
    except (msgspec.DecodeError, RecursionError):
        return None
    first = choices[0] if choices else _Choice()
    return first.text if first.message is None else first.message.content or ""


def _embedded(response: str | bytes) -> str | None:
    try:
        found = [bytes(each.embedding) for each in _embeddings.decode(response).data]
    except (msgspec.DecodeError, RecursionError):
        return None
    return (found[0] if len(found) == 1 else b"[%b]" % b",".join(found)).decode() if found else None
