"""The examples of docs/kubernetes.md and docs/aimodel.md, and their tables."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.kubernetes.kubectl import DEPLOY, Kubectl, rendered

pytestmark = [pytest.mark.kubernetes, pytest.mark.xdist_group("kubernetes")]

DOCS = DEPLOY.parent / "docs"
PAGES = ("aimodel.md", "kubernetes.md")


def examples(*, overlays: bool) -> list[Any]:
    """The pages' YAML: their overlays, or all other objects."""
    found = []
    for page in PAGES:
        for number, text in enumerate(re.findall(r"```yaml\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)):
            if (yaml.safe_load(text)["kind"] == "Kustomization") is overlays:
                found.append(pytest.param(text, id=f"{page}-{number}"))
    return found


@pytest.mark.usefixtures("aimodels")
@pytest.mark.parametrize("example", examples(overlays=False))
async def test_an_object_is_taken(kubectl: Kubectl, example: str) -> None:
    there = example.replace("namespace: team-a", "namespace: default")
    said = await kubectl("apply", "--dry-run=server", "-f", "-", given=there)
    assert said.endswith(" created (server dry run)\n")


@pytest.mark.parametrize("example", examples(overlays=True))
def test_an_overlay_is_one(tmp_path: Path, example: str) -> None:
    shutil.copytree(DEPLOY, tmp_path / "deploy")
    (tmp_path / "kustomization.yaml").write_text(example)
    assert "AGENTOS_REGION" in str(rendered(tmp_path, tmp_path))


def test_every_field_of_spec_is_described_with_its_default() -> None:
    definition = yaml.safe_load((DEPLOY / "base" / "crd.yaml").read_text())
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    table = dict(re.findall(r"^\| `([\w.]+)` \| (\S+) \|", (DOCS / "aimodel.md").read_text(), re.MULTILINE))
    fields = dict(described(schema))
    assert {name: table.get(name) for name in fields} == fields


def described(schema: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Each field by its path, with what the table has as its default."""
    for name, field in schema["properties"].items():
        given = f"`{field['default']}`" if "default" in field else "–"
        yield prefix + name, "required" if name in schema.get("required", []) else given
        if name in ("scaling", "apiKeySecretRef"):
            yield from described(field, f"{name}.")


def test_every_network_policy_is_in_the_table(tmp_path: Path) -> None:
    page = (DOCS / "kubernetes.md").read_text()
    objects = rendered(DEPLOY / "overlays" / "dev", tmp_path)
    names = {each["metadata"]["name"] for each in objects if each["kind"] == "NetworkPolicy"}
    rows = page.partition("| NetworkPolicy |")[2].partition("\n\n")[0]
    assert names - set(re.findall(r"`([a-z-]+)`", rows)) == {"nothing"}
