"""What calls have used: as their answers state it, or estimated where they state nothing. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bus.messages import Usage
from bus.operations import FIELDS, operation_of
from workernode.stream import NAMES, choices_of

_NOT_TEXT = NAMES | {"image_url", "input_audio", "file", "audio", "tool_call_id"}


def usage_of(response: Mapping[str, Any]) -> Usage | None:
    """The usage that an answer states, by the names of Chat Completions or of Responses; None if it states none."""
    usage = response.get("usage")
    if not isinstance(usage, dict):
        return None
    prompt = _count(usage, "prompt_tokens", "input_tokens")
    completion = _count(usage, "completion_tokens", "output_tokens")
    if prompt is None and completion is None:
        return None
    prompt, completion = prompt or 0, completion or 0
    total = _count(usage, "total_tokens")
    return Usage(
        prompt,
        completion,
        prompt + completion if total is None else total,
        _details(usage, "prompt_tokens_details", "input_tokens_details"),
        _details(usage, "completion_tokens_details", "output_tokens_details"),
    )


def _count(usage: Mapping[str, Any], *names: str) -> int | None:
    return next((usage[name] for name in names if type(usage.get(name)) is int and usage[name] >= 0), None)


def _details(usage: Mapping[str, Any], *names: str) -> dict[str, Any] | None:
    return next((usage[name] for name in names if isinstance(usage.get(name), dict)), None)


def estimated_usage(body: Mapping[str, Any], response: Mapping[str, Any]) -> Usage:
    """A guess where the upstream states no usage: a token for every 4 bytes of text, rounded up.

    Pictures and sounds are not counted; tool definitions, names and roles are not either. Reasoning that is shown is
    counted as such. What was cached cannot be known.
    """
    prompt = _given(body.get(FIELDS[operation_of(body)]))
    answers = [choice.get("message", choice.get("text")) for choice in choices_of(response)]
    completion = sum(map(_tokens, answers))
    reasoning = sum(map(_tokens, map(_reasoning, answers)))
    details = {"reasoning_tokens": reasoning} if reasoning else None
    return Usage(prompt, completion, prompt + completion, None, details)


def _given(value: Any) -> int:
    """Of messages or texts, alone or in lists; a number is a token."""
    if isinstance(value, list):
        return sum(map(_given, value))
    return 1 if isinstance(value, int) else _tokens(value)


def _reasoning(message: Any) -> str | None:
    """By either of the names under which servers show it."""
    return (message.get("reasoning_content") or message.get("reasoning")) if isinstance(message, dict) else None


def _tokens(message: Any) -> int:
    return -(-_text_bytes(message) // 4)


def _text_bytes(value: Any) -> int:
    if isinstance(value, str):
        return len(value.encode("utf-8", "surrogatepass"))
    if isinstance(value, list):
        return sum(map(_text_bytes, value))
    if isinstance(value, dict):
        return sum(_text_bytes(each) for key, each in value.items() if key not in _NOT_TEXT)
    return 0
