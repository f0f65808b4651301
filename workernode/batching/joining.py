"""Several embeddings or text completions as one upstream call, and its answer in parts. Pure.

Both take a list where they take one text: https://platform.openai.com/docs/api-reference/embeddings/create and
https://platform.openai.com/docs/api-reference/completions/create. The answers to a list come in its order, told by
their `index`; of a completion's prompt each has `n`.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from bus.messages import Usage
from bus.operations import FIELDS, Operation, operation_of
from workernode.stream import objects
from workernode.usage import usage_of

_encode = msgspec.json.Encoder(order="sorted").encode
# How an answer is to arrive is no part of what is asked.
_MANNER = ("stream", "stream_options")
# What it means beside several prompts nobody says.
_OF_ONE = "suffix"


class Share(NamedTuple):
    """One request's part of a joint answer. `usage`: None where the answer states none."""

    response: dict[str, Any]
    usage: Usage | None


def likeness(body: Mapping[str, Any]) -> Hashable | None:
    """Equal for bodies that one call can carry together; None for one that goes by itself."""
    operation = operation_of(body)
    if operation == "chat" or body.get(_OF_ONE) is not None:
        return None
    field = FIELDS[operation]
    inputs = _inputs(body[field])
    if inputs is None or type(body.get("n", 1)) is not int:
        return None
    rest = {name: value for name, value in body.items() if name != field and name not in _MANNER}
    return operation, isinstance(inputs[0], str), _encode(rest)


def join(bodies: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One body for all; they are alike."""
    field = FIELDS[operation_of(bodies[0])]
    joint = {name: value for name, value in bodies[0].items() if name not in _MANNER}
    return joint | {field: [each for body in bodies for each in _inputs_of(body)]}


def split(bodies: Sequence[Mapping[str, Any]], response: Mapping[str, Any]) -> list[Share] | None:
    """Each body's part, in the form that it would have got alone. None where the answer does not fit the call.

    What a request used of a joint call nobody tells: the stated tokens are divided, those of the prompts by the
    length of the inputs, those of the answers by the length of the texts. The parts add up to what was stated.
    """
    operation = operation_of(bodies[0])
    name = "data" if operation == "embeddings" else "choices"
    counts = [len(_inputs_of(body)) * body.get("n", 1) for body in bodies]
    members = _in_order(response.get(name), sum(counts))
    if members is None:
        return None
    parts = [[{**each, "index": index} for index, each in enumerate(part)] for part in _cut(members, counts)]
    usages = _usages(bodies, parts, usage_of(response))
    rest = {key: value for key, value in response.items() if key != "usage"}
    return [
        Share({**rest, name: part} | ({} if used is None else {"usage": _told(operation, used)}), used)
        for part, used in zip(parts, usages, strict=True)
    ]


def divide(total: int, weights: Sequence[int]) -> list[int]:
    """Whole numbers in proportion to the weights, which add up to `total`; evenly where all weigh nothing."""
    whole = sum(weights)
    if whole == 0:
        weights, whole = [1] * len(weights), len(weights)
    bounds, passed = [0], 0
    for weight in weights:
        passed += weight
        bounds.append(total * passed // whole)
    return [after - before for before, after in itertools.pairwise(bounds)]


def _inputs(value: Any) -> list[Any] | None:
    """Each input of a body; None where it has none, or another form."""
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list) or not value:
        return None
    if _are_tokens(value):
        return [value]
    return value if all(isinstance(each, str) for each in value) or all(map(_are_tokens, value)) else None


def _are_tokens(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(type(each) is int for each in value)


def _inputs_of(body: Mapping[str, Any]) -> list[Any]:
    return _inputs(body[FIELDS[operation_of(body)]]) or []


def _in_order(members: Any, count: int) -> list[dict[str, Any]] | None:
    """The answer's members by their index, if there is exactly one for each."""
    found = {each["index"]: each for each in objects(members) if type(each.get("index")) is int}
    return [found[index] for index in range(count)] if found.keys() == set(range(count)) else None


def _cut(members: Sequence[dict[str, Any]], counts: Sequence[int]) -> list[Sequence[dict[str, Any]]]:
    ends = [sum(counts[: number + 1]) for number in range(len(counts))]
    return [members[end - count : end] for end, count in zip(ends, counts, strict=True)]


def _usages(
    bodies: Sequence[Mapping[str, Any]], parts: Sequence[Sequence[Mapping[str, Any]]], usage: Usage | None
) -> list[Usage | None]:
    if usage is None:
        return [None] * len(bodies)
    lengths = [sum(map(len, _inputs_of(body))) for body in bodies]
    prompts = divide(usage.prompt_tokens, lengths)
    completions = divide(usage.completion_tokens, [sum(map(_text_length, part)) for part in parts])
    # Some providers count in the total what is neither.
    others = divide(usage.total_tokens - usage.prompt_tokens - usage.completion_tokens, lengths)
    return [Usage(p, c, p + c + other) for p, c, other in zip(prompts, completions, others, strict=True)]


def _text_length(choice: Mapping[str, Any]) -> int:
    text = choice.get("text")
    return len(text) if isinstance(text, str) else 0


def _told(operation: Operation, usage: Usage) -> dict[str, int]:
    told = {"prompt_tokens": usage.prompt_tokens, "total_tokens": usage.total_tokens}
    return told if operation == "embeddings" else told | {"completion_tokens": usage.completion_tokens}
