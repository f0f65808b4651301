"""Asks the gateway, plain and streamed, with the official client: `python examples/chat.py [BASE_URL [MODEL]]`."""

from __future__ import annotations

import sys

from openai import OpenAI

base_url = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8081/v1"
model = sys.argv[2] if len(sys.argv) > 2 else "mock"

client = OpenAI(base_url=base_url, api_key="unused")

answer = client.chat.completions.create(model=model, messages=[{"role": "user", "content": "Say hello."}])
print(answer.choices[0].message.content)
print("tokens:", answer.usage.total_tokens if answer.usage else "unknown")

with client.chat.completions.create(
    model=model,
    messages=[{"role": "user", "content": "Say hello."}],
    stream=True,
    stream_options={"include_usage": True},
) as stream:
    for chunk in stream:
        for choice in chunk.choices:
            print(choice.delta.content or "", end="", flush=True)
        if chunk.usage:
            print("\ntokens:", chunk.usage.total_tokens)
