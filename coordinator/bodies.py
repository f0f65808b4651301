"""The bodies of OpenAI's calls: the fields that the gateway looks at, and what it refuses. Pure.

A body is passed on as it came, unknown fields and all. https://platform.openai.com/docs/api-reference
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from bus.operations import FIELDS, PATHS, Operation
from coordinator.openai import RequestRefused
from coordinator.texts import RIGHT, are_texts


class Asked(NamedTuple):
    """A client's request. `include_usage`: its stream is to end with the usage."""

    operation: Operation
    model: str
    stream: bool
    include_usage: bool


class _StreamOptions(msgspec.Struct, frozen=True):
    include_usage: bool | None = None


class _Body(msgspec.Struct, frozen=True, kw_only=True):
    model: str
    stream: bool | None = None
    stream_options: _StreamOptions | None = None


class _Chat(_Body, frozen=True, kw_only=True):
    messages: list[dict[str, Any]]


class _TextCompletion(_Body, frozen=True, kw_only=True):
    prompt: Any
    messages: Any | UnsetType = UNSET


class _Embeddings(_Body, frozen=True, kw_only=True):
    input: Any
    messages: Any | UnsetType = UNSET
    prompt: Any | UnsetType = UNSET


_DECODERS: dict[Operation, msgspec.json.Decoder[Any]] = {
    "chat": msgspec.json.Decoder(_Chat),
    "text_completion": msgspec.json.Decoder(_TextCompletion),
    "embeddings": msgspec.json.Decoder(_Embeddings),
}


def parse(operation: Operation, body: bytes) -> Asked:
    """Raises `RequestRefused` with status 400 that names the place and what would be right."""
    read = _read(operation, body)
    _check_shape(operation, read)
    if operation == "chat":
        if not read.messages:
            raise _wrong("messages", "must hold at least one message")
    elif not are_texts(getattr(read, FIELDS[operation])):
        raise _wrong(FIELDS[operation], RIGHT)
    if operation == "embeddings" and read.stream:
        raise _wrong("stream", "must be false or left out: embeddings come in one piece")
    options = read.stream_options
    return Asked(operation, read.model, bool(read.stream), options is not None and bool(options.include_usage))


def _read(operation: Operation, body: bytes) -> Any:
    try:
        body.decode()
        return _DECODERS[operation].decode(body)
    except msgspec.ValidationError as error:
        raise _invalid(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _no_json(f"The body is not valid JSON: {error}.") from None
    except RecursionError:
        raise _no_json("The body's lists and objects are nested too deep.") from None


def _check_shape(operation: Operation, read: Any) -> None:
    """Workers tell bodies apart by their shape: one that looks like another call's would be taken for it."""
    for other, field in FIELDS.items():
        if other == operation:
            return
        if getattr(read, field) is not UNSET:
            raise _wrong(field, f"does not belong here: it makes this a request for /v1{PATHS[other]}")


def _wrong(param: str, what: str) -> RequestRefused:
    return RequestRefused(400, f"'{param}' {what}.", "invalid_request_error", None, param)


def _no_json(message: str) -> RequestRefused:
    return RequestRefused(400, message, "invalid_request_error", "invalid_json")


def _invalid(problem: str) -> RequestRefused:
    what, _, place = problem.partition(" - at `")
    param = place.removeprefix("$").removeprefix(".").rstrip("`") or None
    if "missing required field" in problem:
        param = problem.split("`")[1]
        return RequestRefused(400, f"'{param}' is missing.", "invalid_request_error", None, param)
    return RequestRefused(400, f"'{param or 'body'}': {what}.", "invalid_request_error", None, param)
