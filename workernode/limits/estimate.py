"""How many tokens a request will use, before it is sent: its prompt by its length, its answer by earlier ones."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from bus.operations import operation_of

BYTES_PER_TOKEN = 4.0
# A picture or a sound in a prompt. Its length says nothing.
ATTACHMENT_TOKENS = 1000.0
# An answer's tokens before one was seen.
USUAL_ANSWER = 256.0
# The weight of the newest request in what is learned.
WEIGHT = 0.05

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Estimate:
    """Tokens of one request. `raw`: its prompt's before what was learned is applied."""

    raw: float
    prompt: float
    output: float

    @property
    def tokens(self) -> float:
        """What to reserve."""
        return self.prompt + self.output


class Estimator:
    """Estimates, and learns from what requests have really used."""

    def __init__(self) -> None:
        self._prompt_ratio = 1.0
        self._output = USUAL_ANSWER
        self._output_spread = USUAL_ANSWER

    def estimate(self, body: Mapping[str, Any]) -> Estimate:
        """`body`: that of an OpenAI request. Its own bound counts where it is below what answers use to be.
        Embeddings are not answered in tokens.
        """
        raw = prompt_tokens(body)
        if operation_of(body) == "embeddings":
            return Estimate(raw, max(1.0, raw * self._prompt_ratio), 0.0)
        bounds = (_count(body, "max_completion_tokens"), _count(body, "max_tokens"))
        output = min(self._output + self._output_spread, *(each or math.inf for each in bounds))
        return Estimate(raw, raw * self._prompt_ratio, output * (_count(body, "n") or 1))

    def learn(self, estimate: Estimate, prompt: int, output: int) -> None:
        """Hears what a request has used, in tokens."""
        if prompt > 0:
            ratio = min(max(prompt / max(1.0, estimate.raw), 0.1), 10.0)
            self._prompt_ratio += WEIGHT * (ratio - self._prompt_ratio)
        if not estimate.output:
            return
        self._output_spread += WEIGHT * (abs(output - self._output) - self._output_spread)
        self._output += WEIGHT * (output - self._output)


def prompt_tokens(body: Mapping[str, Any]) -> float:
    """By length: messages, tools, and what else the model reads."""
    messages = body.get("messages")
    parts = _messages(messages) if isinstance(messages, list) else 0.0
    others = (body[name] for name in ("tools", "functions", "response_format", "prompt", "input") if body.get(name))
    return parts + sum(_length(each) for each in others) / BYTES_PER_TOKEN


def _messages(messages: Iterable[Any]) -> float:
    tokens = 0.0
    for message in messages:
        content = message.get("content") if isinstance(message, dict) else message
        tokens += sum(map(_part, content)) if isinstance(content, list) else _length(content) / BYTES_PER_TOKEN
        if isinstance(message, dict) and message.get("tool_calls"):
            tokens += _length(message["tool_calls"]) / BYTES_PER_TOKEN
    return tokens


def _part(part: Any) -> float:
    text = part.get("text") if isinstance(part, dict) else part
    return _length(text) / BYTES_PER_TOKEN if isinstance(text, str) else ATTACHMENT_TOKENS


def _length(value: Any) -> int:
    if isinstance(value, str):
        return len(value) if value.isascii() else len(value.encode(errors="replace"))
    return 0 if value is None else len(_encode(value))


def _count(body: Mapping[str, Any], name: str) -> int | None:
    value = body.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
