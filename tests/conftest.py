"""Fixtures that all tests share: the real parts. Each has a file of its own in tests/fixtures."""

from __future__ import annotations

from hypothesis import settings

# An example's time says more about a busy machine than about the code; each test has a time limit anyway.
settings.register_profile("agentos", deadline=None)
settings.load_profile("agentos")

pytest_plugins = [
    "tests.fixtures.leftovers",
    "tests.fixtures.postgres",
    "tests.fixtures.embedded_bus",
    "tests.fixtures.store",
    "tests.fixtures.double",
    "tests.fixtures.llama",
    "tests.fixtures.pulsar",
    "tests.fixtures.kubernetes",
    "tests.fixtures.control_plane",
    "tests.kubernetes.kubectl",
    "tests.kubernetes.bare",
    "tests.fixtures.keda",
    "tests.fixtures.installation",
    "tests.kubernetes.operators",
]
