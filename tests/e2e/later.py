"""What of a test's two buses is run by command (`-m long`), as the other shows what there is to see."""

from __future__ import annotations

import pytest


def pulsar_later(fixture: str) -> pytest.MarkDecorator:
    """For a test with a fixture of both buses: the one on Pulsar is `long`."""
    later = pytest.param("pulsar", marks=[pytest.mark.pulsar, pytest.mark.long])
    return pytest.mark.parametrize(fixture, ["postgres", later], indirect=True)
