"""A sink for tests."""

from __future__ import annotations

import asyncio
import json
from typing import Any


class Chunks(list[dict[str, Any]]):
    """A sink that keeps the chunks, and tells when the first text has come."""

    def __init__(self) -> None:
        super().__init__()
        self.first = asyncio.Event()

    def chunk(self, data: bytes) -> None:
        self.append(json.loads(data))
        if self.text():
            self.first.set()

    def text(self) -> str:
        return "".join(choice["delta"].get("content") or "" for chunk in self for choice in chunk["choices"])
