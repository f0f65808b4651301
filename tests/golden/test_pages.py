"""The pages for people name every field that the schemas have."""

from __future__ import annotations

import re

import pytest

from tools import schema

PAGES = {
    "billing-events.md": ["ResultMessage", "Usage", "Timestamps", "Stages", "TaskRef"],
    "management.md": ["NodeEvent"],
}
PARTS = {"client": "Client", "request": "RequestDetails", "provider": "Provider"}


def named(page: str) -> set[str]:
    """What a page has in code marks."""
    return set(re.findall(r"`([\w.]+)`", (schema.ROOT / "docs" / page).read_text()))


@pytest.mark.parametrize(("page", "types"), PAGES.items())
def test_every_field_is_on_its_page(page: str, types: list[str]) -> None:
    fields = {field for name in types for field in schema.frozen()[name]["properties"]}
    assert not fields - named(page) - {"timestamps", "stages", *PARTS}


@pytest.mark.parametrize(("prefix", "name"), PARTS.items())
def test_every_field_of_the_parts_is_on_the_page(prefix: str, name: str) -> None:
    assert not {f"{prefix}.{field}" for field in schema.frozen()[name]["properties"]} - named("billing-events.md")


@pytest.mark.parametrize(("name", "field"), [("ResultMessage", "outcome"), ("NodeEvent", "reason")])
def test_every_value_is_on_its_page(name: str, field: str) -> None:
    page = "management.md" if name == "NodeEvent" else "billing-events.md"
    values = {kind.removeprefix("=") for kind in schema.frozen()[name]["properties"][field]}
    assert not values - named(page)
