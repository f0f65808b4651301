"""Fixtures that all tests share: the real parts. Each has a file of its own in tests/fixtures."""

from __future__ import annotations

pytest_plugins = [
    "tests.fixtures.postgres",
    "tests.fixtures.embedded_bus",
    "tests.fixtures.store",
    "tests.fixtures.double",
    "tests.fixtures.llama",
    "tests.fixtures.pulsar",
]
