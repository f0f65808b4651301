"""Limits are decisions: they do no I/O, and know nothing of the worker around them."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.test_layers import IO, ROOT, imported

FILES = sorted((ROOT / "workernode" / "limits").glob("*.py"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_limit_does_no_io_and_reads_no_clock(file: Path) -> None:
    assert not set(imported(file)) & (IO | {"time", "random", "datetime"})


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_limits_lie_below_the_worker(file: Path) -> None:
    nodes = ast.walk(ast.parse(file.read_text()))
    modules = [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    assert all(each.startswith("workernode.limits") for each in modules if each.startswith("workernode"))
