"""The schemas in docs/schema: up to date, valid by their own standards, true of the golden messages."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.fixtures.asyncapi import asyncapi_schema
from tools import schema

FOLDER = Path(__file__).parent
KINDS = {
    "request": "request",
    "attempt": "attempt-result",
    "node-event": "node-event",
    "frontend-information": "frontend-information",
    "order": "order",
}
# Of each kind that is not always valid without it.
NEEDED = {"request": "request_id", "attempt-result": "request_id", "frontend-information": "sender", "order": "at"}


def load(name: str) -> Any:
    return json.loads((schema.FOLDER / name).read_text())


def test_the_files_are_up_to_date() -> None:
    assert not schema.different(), "run: python -m tools.schema"


def test_a_file_that_is_not_up_to_date_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "FOLDER", tmp_path)
    assert len(schema.different()) == len(schema.MESSAGES) + 1
    for path, text in schema.files().items():
        path.write_text(text)
    assert not schema.different()
    (tmp_path / "asyncapi.json").write_text("{}")
    assert schema.different() == [tmp_path / "asyncapi.json"]


def test_check_exits_in_peace() -> None:
    done = subprocess.run([sys.executable, "-m", "tools.schema", "--check"], cwd=schema.ROOT, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")


def test_the_asyncapi_document_is_valid_by_the_official_schema() -> None:
    validator = jsonschema.Draft7Validator(asyncapi_schema())
    document = load("asyncapi.json")
    validator.validate(document)
    document["channels"]["model"]["adress"] = "a slip"
    assert not validator.is_valid(document)


def test_every_reference_of_the_asyncapi_document_leads_somewhere() -> None:
    document = load("asyncapi.json")

    def look(value: Any) -> None:
        for reference in [value["$ref"]] if isinstance(value, dict) and "$ref" in value else []:
            found = document
            for step in reference.removeprefix("#/").split("/"):
                found = found[step]
        for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else []:
            look(each)

    look(document)


@pytest.mark.parametrize("name", KINDS.values())
def test_a_json_schema_is_one_and_describes_its_fields(name: str) -> None:
    document = load(f"{name}.schema.json")
    jsonschema.Draft202012Validator.check_schema(document)
    assert all(each["description"] for each in document["$defs"].values())


@pytest.mark.parametrize(
    "file", [file for file in FOLDER.glob("*.json") if file.stem.startswith(tuple(KINDS))], ids=lambda file: file.stem
)
def test_golden_messages_are_as_their_schema_says(file: Path) -> None:
    [name] = [KINDS[kind] for kind in KINDS if file.stem.startswith(kind)]
    validator = jsonschema.Draft202012Validator(load(f"{name}.schema.json"))
    message = json.loads(file.read_text())
    validator.validate(message)
    if name in NEEDED:
        del message[NEEDED[name]]
        assert not validator.is_valid(message)
