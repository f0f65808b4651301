"""A pipeline as a person describes it, checked in every part, and the task that each of its requests is. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from coordinator.graph.checking import with_nodes
from coordinator.graph.description import INPUT, Description, DescriptionRefused, NodeSpec
from coordinator.graph.reading import reader
from coordinator.graph.specs import PipelineRequest
from policy.slo.pipeline import Pipeline, Stage, WrongPipeline, checked

MOST_STAGES = 100

_pipeline = reader(Pipeline)
_kept = msgspec.json.Decoder(Pipeline)


class Asked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request of a pipeline. `input`: what `${{ input }}` stands for. `slo_seconds`: instead of the pipeline's."""

    input: Any
    user: Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]{0,256}\Z")] = ""
    slo_seconds: Annotated[float, Meta(gt=0, le=86_400)] | None = None


read_asked = reader(Asked)


class Template:
    """A pipeline's tasks: one node a stage. `pipeline`: with what its stages' bodies need in `after`."""

    def __init__(self, pipeline: Pipeline) -> None:
        """Raises `DescriptionRefused` with a pointer into the pipeline's description."""
        stages = pipeline.stages
        if len(stages) > MOST_STAGES:
            raise DescriptionRefused(("stages",), f"There are {len(stages)} stages; at most {MOST_STAGES} may be.")
        self.nodes = _nodes(stages)
        needed = {node.id: node.depends_on for node in self.nodes}
        try:
            self.pipeline = checked(
                msgspec.structs.replace(
                    pipeline, stages=[msgspec.structs.replace(each, after=needed[each.id]) for each in stages]
                )
            )
        except WrongPipeline as error:
            raise DescriptionRefused(error.place, str(error)) from None

    def task(self, asked: Asked) -> Description:
        """What a request is to do. With the policy "none" nothing ends it before its end."""
        slo = asked.slo_seconds or self.pipeline.slo_seconds
        return Description(
            nodes=self.nodes,
            user=asked.user,
            deadline_seconds=None if self.pipeline.policy == "none" else slo,
            pipeline=PipelineRequest(name=self.pipeline.name, input=asked.input, slo_seconds=slo),
        )


def read_pipeline(name: str, body: bytes) -> Template:
    """What was put under that name. Raises `DescriptionRefused`."""
    return Template(_pipeline(_named(name, body)))


def template_of(text: str) -> Template:
    """What `encode` has made."""
    return Template(_kept.decode(text))


def encode(template: Template) -> str:
    """JSON text."""
    return msgspec.json.encode(template.pipeline).decode()


def _named(name: str, body: bytes) -> bytes:
    """The name is in the path: in the body it may be left out, but it may not be another."""
    try:
        fields = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return body  # the reader says what is wrong
    if not isinstance(fields, dict):
        return body
    if fields.setdefault("name", name) != name:
        raise DescriptionRefused(("name",), "The name is another than in the path; leave it out.")
    return msgspec.json.encode(fields)


def _nodes(stages: Sequence[Stage]) -> list[NodeSpec]:
    nodes = [
        NodeSpec(id=stage.id, model=stage.model, body=stage.body or _body(stage), depends_on=stage.after)
        for stage in stages
    ]
    try:
        return with_nodes([], nodes, MOST_STAGES, again=False, given={INPUT})
    except DescriptionRefused as refused:
        raise _in_stages(refused) from None


def _body(stage: Stage) -> dict[str, Any]:
    """Of a stage that tells none: a chat about the input, or about the answers of the stages before."""
    content = "\n\n".join(f"${{{{ {name} }}}}" for name in stage.after or [INPUT])
    return {"messages": [{"role": "user", "content": content}]}


def _in_stages(refused: DescriptionRefused) -> DescriptionRefused:
    """The same with a pointer into the pipeline."""
    moved = DescriptionRefused((), refused.message)
    moved.pointer = re.sub(r"^/nodes/(\d+)/depends_on", r"/stages/\1/after", refused.pointer)
    moved.pointer = re.sub(r"^/nodes", "/stages", moved.pointer)
    return moved
