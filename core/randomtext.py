"""Random data as text."""

from __future__ import annotations

import base64
import random


def random_text(size: int) -> str:
    """So many random letters, digits, + and /: as many bytes of UTF-8."""
    return base64.b64encode(random.randbytes(size * 3 // 4 + 1)).decode()[:size]
