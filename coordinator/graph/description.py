"""What a task is to do: read at the door, checked in every part, kept as JSON text. Pure."""

from __future__ import annotations

import msgspec

from coordinator.graph.checking import with_nodes
from coordinator.graph.reading import reader
from coordinator.graph.specs import Budget, Description, DescriptionRefused, NodeSpec, Patch

__all__ = ["INPUT", "Budget", "Description", "DescriptionRefused", "NodeSpec", "decode", "encode", "parse", "revise"]

# What the requests of pipelines are about, in references.
INPUT = "input"
# As OpenAI's (https://platform.openai.com/docs/api-reference/batch/object).
METADATA_KEYS, METADATA_KEY, METADATA_VALUE = 16, 64, 512

_description = reader(Description)
_patch = reader(Patch)
_kept = msgspec.json.Decoder(Description)


def parse(body: bytes, *, max_nodes: int) -> Description:
    """A new task's description, every node with all that it depends on. Raises `DescriptionRefused`."""
    description = _description(body)
    _check_metadata(description.metadata)
    if description.pipeline is not None:
        raise DescriptionRefused(("pipeline",), "A pipeline's requests go to POST /v1/pipelines/{name}/requests.")
    if not description.nodes and not description.open:
        raise DescriptionRefused(("nodes",), "There must be at least one node, or open must be true.")
    return msgspec.structs.replace(description, nodes=with_nodes([], description.nodes, max_nodes, again=False))


def revise(description: Description, patch: bytes, *, max_nodes: int) -> Description:
    """The description with more nodes, or open or closed. Raises `DescriptionRefused` with pointers into `patch`."""
    change = _patch(patch)
    nodes = with_nodes(description.nodes, change.nodes, max_nodes, again=True)
    return msgspec.structs.replace(
        description, nodes=nodes, open=description.open if change.open is None else change.open
    )


def encode(description: Description) -> str:
    """JSON text."""
    return msgspec.json.encode(description).decode()


def decode(text: str) -> Description:
    """What `encode` has made."""
    return _kept.decode(text)


def _check_metadata(metadata: dict[str, str]) -> None:
    if len(metadata) > METADATA_KEYS:
        raise DescriptionRefused(("metadata",), f"There are {len(metadata)} keys; at most {METADATA_KEYS} may be.")
    for key, value in metadata.items():
        if not 0 < len(key) <= METADATA_KEY:
            raise DescriptionRefused(("metadata",), f"A key has 1 to {METADATA_KEY} characters.")
        if len(value) > METADATA_VALUE:
            raise DescriptionRefused(("metadata", key), f"A value has at most {METADATA_VALUE} characters.")
