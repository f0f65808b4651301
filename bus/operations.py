"""The calls of the OpenAI API that AgentOS carries, and which of them a request's body is for. Pure.

https://platform.openai.com/docs/api-reference
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

# By OpenTelemetry's names: https://opentelemetry.io/docs/specs/semconv/registry/attributes/gen-ai
Operation: TypeAlias = Literal["chat", "text_completion", "embeddings"]

# Under /v1.
PATHS: dict[Operation, str] = {
    "chat": "/chat/completions",
    "text_completion": "/completions",
    "embeddings": "/embeddings",
}

# What each is about, by which bodies are told apart.
FIELDS: dict[Operation, str] = {"chat": "messages", "text_completion": "prompt", "embeddings": "input"}


def operation_of(body: Mapping[str, Any]) -> Operation:
    """By the body's shape: messages before a prompt before an input. One with none of them counts as a chat."""
    return next((operation for operation, field in FIELDS.items() if field in body), "chat")
