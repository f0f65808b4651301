"""What metrics and traces call the one who answers: `gen_ai.provider.name`, a name of few. Pure.

https://opentelemetry.io/docs/specs/semconv/registry/attributes/gen-ai
"""

from __future__ import annotations

from urllib.parse import urlsplit

from bus.messages import NodeType

_BY_DOMAIN = {
    "openai.azure.com": "azure.ai.openai",
    "inference.ai.azure.com": "azure.ai.inference",
    "anthropic.com": "anthropic",
    "cohere.com": "cohere",
    "cohere.ai": "cohere",
    "deepseek.com": "deepseek",
    "generativelanguage.googleapis.com": "gcp.gemini",
    "aiplatform.googleapis.com": "gcp.vertex_ai",
    "groq.com": "groq",
    "mistral.ai": "mistral_ai",
    "perplexity.ai": "perplexity",
    "x.ai": "x_ai",
}


def provider_name(node_type: NodeType, api_url: str) -> str:
    """The convention's name of a known host; `openai` for any other that speaks its format; `llama.cpp`; `mock`."""
    if node_type != "remote":
        return "llama.cpp" if node_type == "local" else "mock"
    host = "." + (urlsplit(api_url.strip()).hostname or "")
    return next((name for domain, name in _BY_DOMAIN.items() if host.endswith("." + domain)), "openai")
