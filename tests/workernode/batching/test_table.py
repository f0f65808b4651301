from __future__ import annotations

import pytest

from core.errors import ConfigurationError
from workernode.batching.table import read_table


def test_sizes_and_seconds() -> None:
    assert read_table("1:0.069, 2:0.117,32:1.544", "X") == {1: 0.069, 2: 0.117, 32: 1.544}
    assert read_table(" ", "X") == {}


@pytest.mark.parametrize("text", ["1", "0:1", "1:0", "1:-1", "1:inf", "1:nan", "a:1", "1:1,", "1025:1", "1.5:1"])
def test_what_is_wrong_is_told_with_the_variable(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^AGENTOS_BATCH_SECONDS: '.*' is no size:seconds"):
        read_table(text, "AGENTOS_BATCH_SECONDS")
