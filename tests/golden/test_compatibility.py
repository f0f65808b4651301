"""What released code wrote can be read for ever, and what readers rely on stays."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bus.messages import (
    EndpointChunk,
    EndpointReply,
    decode_control,
    decode_event,
    decode_frames,
    decode_notice,
    decode_request,
    encode,
)
from bus.scaling import decode_scaling
from core.errors import BadMessage
from tools import schema

FOLDER = Path(__file__).parent
DECODERS: dict[str, Callable[[bytes], Any]] = {
    "request": decode_request,
    "attempt": decode_event,
    "node-event": decode_event,
    "reply-frames": decode_frames,
    "control": decode_control,
    "notice": decode_notice,
    "frontend-information": decode_scaling,
    "order": decode_scaling,
    "endpoint-reply": msgspec.json.Decoder(EndpointReply).decode,
    "endpoint-chunk": msgspec.json.Decoder(EndpointChunk).decode,
}
MESSAGES = sorted(file for file in FOLDER.glob("*.json") if not file.name.startswith("schema-"))
FROZEN = sorted(FOLDER.glob("schema-*.json"))


@pytest.mark.parametrize("file", MESSAGES, ids=lambda file: file.stem)
def test_a_message_of_released_code_is_read_with_every_field(file: Path) -> None:
    [decode] = [DECODERS[kind] for kind in DECODERS if file.stem.startswith(kind)]
    assert json.loads(encode(decode(file.read_bytes()))) == json.loads(file.read_text())


@pytest.mark.parametrize("field", ["event", "reason", "at", "usage"])
def test_a_bad_node_event_is_named_without_its_content(field: str) -> None:
    event = json.loads((FOLDER / "node-event-unavailable.json").read_text())
    with pytest.raises(BadMessage, match="not a result message") as caught:
        decode_event(json.dumps(event | {field: "SECRET"}).encode())
    assert "SECRET" not in str(caught.value)


def broken(frozen: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What a reader that knows `frozen` would miss, or find changed, in messages as they are `now`."""
    found = []
    for name, old in frozen.items():
        new = now.get(name, {"required": [], "properties": {}})
        if new["required"] != old["required"]:
            found.append(f"{name}: other fields are required")
        for key, kinds in old["properties"].items():
            if missing := set(kinds) - set(new["properties"].get(key, [])):
                found.append(f"{name}.{key}: no longer {', '.join(missing)}")
            elif types(new["properties"][key]) != types(kinds):
                found.append(f"{name}.{key}: of another type as well")
    return found


def types(kinds: list[str]) -> set[str]:
    """Without the values of enumerations: those may grow."""
    return {kind for kind in kinds if not kind.startswith("=")}


@pytest.mark.parametrize("file", FROZEN, ids=lambda file: file.stem)
def test_no_field_is_renamed_removed_changed_or_made_required(file: Path) -> None:
    assert not broken(json.loads(file.read_text()), schema.frozen())


def test_every_field_is_frozen_once_it_is_there() -> None:
    newest = json.loads(max(FROZEN, key=lambda file: int(file.stem.removeprefix("schema-"))).read_text())
    assert newest == schema.frozen(), "fields were added: python -m tools.schema --freeze <the next number>"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda usage: usage["properties"].pop("total_tokens"), "Usage.total_tokens: no longer integer"),
        (lambda usage: usage["properties"].update(total_tokens=["string"]), "Usage.total_tokens: no longer integer"),
        (lambda usage: usage["properties"]["total_tokens"].append("null"), "Usage.total_tokens: of another type"),
        (lambda usage: usage["required"].append("prompt_tokens_details"), "Usage: other fields are required"),
        (lambda usage: usage["required"].remove("total_tokens"), "Usage: other fields are required"),
    ],
)
def test_a_change_that_breaks_readers_is_seen(change: Callable[[dict[str, Any]], object], said: str) -> None:
    now = schema.frozen()
    change(now["Usage"])
    [found] = broken(schema.frozen(), now)
    assert found.startswith(said)


def test_a_value_that_is_no_longer_told_is_seen_and_a_new_one_is_not() -> None:
    now = schema.frozen()
    now["ResultMessage"]["properties"]["outcome"].append("=later")
    assert not broken(schema.frozen(), now)
    now["ResultMessage"]["properties"]["outcome"].remove("=expired")
    assert broken(schema.frozen(), now) == ["ResultMessage.outcome: no longer =expired"]
