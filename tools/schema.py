"""Writes docs/schema from the wire's own types: `python -m tools.schema`; `--check` tells of differences alone.

`--freeze N` keeps what readers may rely on from now on in tests/golden/schema-N.json.

AsyncAPI 3.0 for the topics as a whole, JSON Schema 2020-12 for each kind of message on them.
"""

from __future__ import annotations

import inspect
import sys
import tomllib
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import msgspec

from bus.messages import NodeEvent, RequestMessage, ResultMessage
from bus.scaling import FrontendInformation, Order
from bus.topics import RESULT_TOPIC, SCALING_CHANNEL

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "schema"
MESSAGES: dict[str, type[msgspec.Struct]] = {
    "request": RequestMessage,
    "attempt-result": ResultMessage,
    "node-event": NodeEvent,
    "frontend-information": FrontendInformation,
    "order": Order,
}


def definitions(where: str) -> dict[str, Any]:
    """JSON Schemas of the messages and of all that they hold, by the name of the type. `where`: of references."""
    _, found = msgspec.json.schema_components(map(_plain, MESSAGES.values()), ref_template=where + "{name}")
    return found


def _plain(kind: type[msgspec.Struct]) -> type[msgspec.Struct]:
    """The same struct with objects where it has raw JSON: the generator cannot write the default of such a field."""
    hints = get_type_hints(kind, include_extras=True)
    fields = [_field(each, hints[each.name]) for each in msgspec.structs.fields(kind)]
    config = kind.__struct_config__
    return msgspec.defstruct(kind.__name__, fields, kw_only=True, tag=config.tag, namespace={"__doc__": kind.__doc__})


def _tidy(schema: Any) -> Any:
    """Descriptions without a docstring's indentation."""
    if isinstance(schema, list):
        return [_tidy(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: inspect.cleandoc(value) if key == "description" and isinstance(value, str) else _tidy(value)
        for key, value in schema.items()
    }


def _field(field: msgspec.structs.FieldInfo, hint: Any) -> tuple[str, Any] | tuple[str, Any, Any]:
    if hint is msgspec.Raw or getattr(hint, "__origin__", None) is msgspec.Raw:
        value = Annotated[(dict[str, Any], *getattr(hint, "__metadata__", ()))]
        return (field.name, value) if field.required else (field.name, value | msgspec.UnsetType, msgspec.UNSET)
    return (field.name, hint) if field.required else (field.name, hint, field.default)


def json_schema(name: str) -> dict[str, Any]:
    """The JSON Schema of one kind of message, complete in itself."""
    root, found = msgspec.json.schema_components([_plain(MESSAGES[name])], ref_template="#/$defs/{name}")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": name,
        **root[0],
        "$defs": found,
    }


def asyncapi() -> dict[str, Any]:
    """The AsyncAPI document. https://www.asyncapi.com/docs/reference/specification/v3.0.0"""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "AgentOS on its topics",
            "version": tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"],
            "description": "Requests to WorkerNodes and what became of them. Fields are added, never renamed, "
            "removed or made required; readers ignore fields that they do not know.",
        },
        "defaultContentType": "application/json",
        "channels": {
            "model": {
                "address": "model-{name}",
                "description": "Requests for one model; Shared subscription model-{name}-subscription.",
                "parameters": {"name": {"description": "MODEL_NAME, percent-encoded."}},
                "messages": {"request": _reference("messages/request")},
            },
            "results": {
                "address": RESULT_TOPIC,
                "description": "Billing events of attempts and events of nodes. RES_TOPIC_NAME names another topic. "
                "Delivery is at least once: `event_id` is the same in every copy.",
                "messages": {name: _reference(f"messages/{name}") for name in ("attempt-result", "node-event")},
            },
            "scaling": {
                "address": SCALING_CHANNEL,
                "description": "The load of pipelines, and how many workers their stages are to have. A channel: a "
                "frame reaches whoever listens, at most once; both are repeated, and the latest is true.",
                "messages": {name: _reference(f"messages/{name}") for name in ("frontend-information", "order")},
            },
        },
        "operations": {
            "takeRequest": _operation("receive", "model", ["request"], "A WorkerNode takes a request."),
            "tellResult": _operation(
                "send", "results", ["attempt-result"], "A WorkerNode tells what became of an attempt, once."
            ),
            "tellManagement": _operation(
                "send",
                "results",
                ["node-event"],
                "A WorkerNode tells that it cannot work, or works again; see `event`.",
            ),
            "tellLoad": _operation(
                "send", "scaling", ["frontend-information"], "A coordinator tells what is asked of pipelines."
            ),
            "orderWorkers": _operation(
                "send", "scaling", ["order"], "The planner orders workers; whoever starts and stops them follows."
            ),
        },
        "components": {
            "messages": {name: _message(name) for name in MESSAGES},
            "schemas": definitions("#/components/schemas/"),
        },
    }


def _message(name: str) -> dict[str, Any]:
    kind = MESSAGES[name]
    return {
        "name": name,
        "summary": (kind.__doc__ or "").partition("\n")[0],
        "payload": _reference(f"schemas/{kind.__name__}"),
    }


def _operation(action: str, channel: str, messages: list[str], summary: str) -> dict[str, Any]:
    return {
        "action": action,
        "summary": summary,
        "channel": {"$ref": f"#/channels/{channel}"},
        "messages": [{"$ref": f"#/channels/{channel}/messages/{name}"} for name in messages],
    }


def _reference(path: str) -> dict[str, str]:
    return {"$ref": f"#/components/{path}"}


def files() -> dict[Path, str]:
    """Every file and its text."""
    found: dict[Path, dict[str, Any]] = {FOLDER / f"{name}.schema.json": json_schema(name) for name in MESSAGES}
    found[FOLDER / "asyncapi.json"] = asyncapi()
    return {path: text(_tidy(document)) for path, document in found.items()}


def text(document: Any) -> str:
    """JSON for people and for diffs."""
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n"


def frozen() -> dict[str, Any]:
    """What readers rely on: for each type its properties with their types, and which of them are always there."""
    return {
        name: {
            "required": sorted(schema.get("required", [])),
            "properties": {key: sorted(_kinds(value)) for key, value in schema["properties"].items()},
        }
        for name, schema in definitions("").items()
    }


def _kinds(schema: dict[str, Any]) -> set[str]:
    """Types, names of other schemas, and values of enumerations that a property may have."""
    if "anyOf" in schema:
        return {kind for each in schema["anyOf"] for kind in _kinds(each)}
    if "enum" in schema:
        return {f"={value}" for value in schema["enum"]}
    return {schema.get("$ref") or schema["type"]}


def different() -> list[Path]:
    """Files that are not as they would be written, missing ones included."""
    return [path for path, content in files().items() if not path.exists() or path.read_text() != content]


if __name__ == "__main__":
    changed = different()
    if "--check" in sys.argv[1:]:
        sys.exit("\n".join(f"not up to date: {path.relative_to(ROOT)}" for path in changed) or 0)
    if "--freeze" in sys.argv[1:]:
        (ROOT / "tests" / "golden" / f"schema-{sys.argv[-1]}.json").write_text(text(frozen()))
    FOLDER.mkdir(exist_ok=True)
    contents = files()
    for path in changed:
        path.write_text(contents[path])
