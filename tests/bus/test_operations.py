"""Which call a body is for."""

from __future__ import annotations

from typing import Any

import pytest

from bus.operations import operation_of


@pytest.mark.parametrize(
    ("body", "operation"),
    [
        ({"messages": []}, "chat"),
        ({"messages": [], "prompt": "x", "input": "x"}, "chat"),
        ({"prompt": None}, "text_completion"),
        ({"prompt": "x", "input": "x"}, "text_completion"),
        ({"input": "x"}, "embeddings"),
        ({}, "chat"),
    ],
)
def test_a_bodys_shape_says_which_call_it_is_for(body: dict[str, Any], operation: str) -> None:
    assert operation_of(body) == operation
