"""The wire, frozen: what programs outside send and read, and what is said of messages that are none."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bus.billing import Timestamps
from bus.messages import (
    NO_USAGE,
    Control,
    EndpointChunk,
    EndpointReply,
    ModelNotice,
    ReplyFrame,
    RequestMessage,
    ResultMessage,
    RollCall,
    TaskRef,
    Usage,
    WorkerNotice,
    decode_control,
    decode_frames,
    decode_notice,
    decode_request,
    decode_result,
    encode,
)
from core.errors import BadMessage

quick = settings(max_examples=50, deadline=None)  # a busy machine is no failure
TASK = TaskRef(task_id=7, node_id="n", global_epoch=1, regional_epoch=2)
RESULT = ResultMessage(
    request_id="r",
    usage=Usage(1, 2, 3),
    model="m",
    ai_model_name=None,
    ai_model_namespace="ns",
    event_id="e",
    outcome="completed",
    node="w",
    node_type="mock",
    stream=False,
    reached_provider=True,
)

GOLDEN: list[tuple[msgspec.Struct | list[ReplyFrame], bytes]] = [
    (
        RequestMessage(
            request_id="r",
            data=msgspec.Raw(b'{"model": "m"}'),
            stream=True,
            endpoint="http://h/x",
            metadata={"headers": {"A": ["b"]}},
        ),
        b'{"request_id":"r","data":{"model": "m"},"stream":true,"endpoint":"http://h/x",'
        b'"metadata":{"headers":{"A":["b"]}}}',
    ),
    (
        RequestMessage(
            request_id="r",
            data=msgspec.Raw(b"{}"),
            reply_channel="c",
            task=TASK,
            data_ref="b",
            deadline=2.5,
            submitted_at=1.5,
        ),
        b'{"request_id":"r","data":{},"reply_channel":"c",'
        b'"task":{"task_id":7,"node_id":"n","global_epoch":1,"regional_epoch":2},'
        b'"data_ref":"b","deadline":2.5,"submitted_at":1.5}',
    ),
    (
        RESULT,
        b'{"request_id":"r","usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3},"model":"m",'
        b'"ai_model_name":null,"ai_model_namespace":"ns","event_id":"e","outcome":"completed","node":"w",'
        b'"node_type":"mock","stream":false,"reached_provider":true}',
    ),
    (
        msgspec.structs.replace(
            RESULT,
            usage=Usage(1, 2, 3, {"cached_tokens": 1}, {"reasoning_tokens": 2}),
            outcome="failed",
            estimated=True,
            attempt=2,
            status=429,
            error={"message": "m"},
            response=msgspec.Raw(b"{}"),
            response_ref="b",
            request_ref="q",
            task=TASK,
            timestamps=Timestamps(received_at=1.5, finished_at=2.5),
        ),
        b'{"request_id":"r","usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3,'
        b'"prompt_tokens_details":{"cached_tokens":1},"completion_tokens_details":{"reasoning_tokens":2}},'
        b'"model":"m","ai_model_name":null,"ai_model_namespace":"ns","event_id":"e","outcome":"failed","node":"w",'
        b'"node_type":"mock","stream":false,"reached_provider":true,"estimated":true,"attempt":2,"status":429,'
        b'"error":{"message":"m"},"response":{},"response_ref":"b","request_ref":"q",'
        b'"task":{"task_id":7,"node_id":"n","global_epoch":1,"regional_epoch":2},'
        b'"timestamps":{"received_at":1.5,"finished_at":2.5}}',
    ),
    (
        [
            ReplyFrame(request_id="r", event_id="e", seq=0, data=msgspec.Raw(b'{"a":1}')),
            ReplyFrame(request_id="r", event_id="e", seq=1, end=True, status=502, stored=True),
        ],
        b'[{"request_id":"r","event_id":"e","seq":0,"data":{"a":1}},'
        b'{"request_id":"r","event_id":"e","seq":1,"end":true,"status":502,"stored":true}]',
    ),
    (Control(cancel=["r", "s"]), b'{"cancel":["r","s"]}'),
    (
        WorkerNotice(node="w", model="m", node_type="local", slots=4, leaving=True),
        b'{"type":"worker","node":"w","model":"m","node_type":"local","slots":4,"leaving":true}',
    ),
    (RollCall(), b'{"type":"roll_call"}'),
    (ModelNotice(model="m", node_type="remote"), b'{"type":"model","model":"m","node_type":"remote"}'),
    (EndpointReply(request_id="r", data=msgspec.Raw(b'{"id": 1}')), b'{"request_id":"r","data":{"id": 1}}'),
    (EndpointChunk(request_id="r", end=True), b'{"request_id":"r","end":true}'),
    (
        EndpointChunk(request_id="r", end=False, data=msgspec.Raw(b"{}")),
        b'{"request_id":"r","end":false,"data":{}}',
    ),
]
DECODERS: dict[type, Callable[[bytes], Any]] = {
    RequestMessage: decode_request,
    ResultMessage: decode_result,
    list: decode_frames,
    Control: decode_control,
    WorkerNotice: decode_notice,
    RollCall: decode_notice,
    ModelNotice: decode_notice,
}


@pytest.mark.parametrize(("message", "wire"), GOLDEN, ids=lambda value: type(value).__name__)
def test_the_wire_is_as_it_was(message: msgspec.Struct | list[ReplyFrame], wire: bytes) -> None:
    assert encode(message) == wire


@pytest.mark.parametrize(
    ("message", "wire"),
    [each for each in GOLDEN if type(each[0]) in DECODERS],
    ids=lambda value: type(value).__name__,
)
def test_what_was_written_can_be_read(message: msgspec.Struct | list[ReplyFrame], wire: bytes) -> None:
    assert encode(DECODERS[type(message)](wire)) == wire


def test_a_request_of_the_earlier_system_is_taken_with_its_body_untouched() -> None:
    body = b'{ "model":"m",  "new_option": {"a": [1.0, 1e3]}, "messages":[] }'
    message = decode_request(b'{"request_id":"r","stream":false,"endpoint":"http://h","data":' + body + b"}")
    assert (message.request_id, message.stream, message.endpoint) == ("r", False, "http://h")
    assert message.metadata is None
    assert bytes(message.data) == body


def test_unknown_fields_are_ignored() -> None:
    assert decode_request(b'{"request_id":"r","data":{},"later":{"x":[1]}}').request_id == "r"
    result = json.loads(encode(RESULT)) | {"later": 1}
    assert decode_result(json.dumps(result).encode()) == RESULT


@pytest.mark.parametrize(
    ("decode", "body", "place"),
    [
        (decode_request, b'SECRET {"request_id":', "byte 0"),
        (decode_request, b"", "truncated"),
        (decode_request, b'{"request_id":"SECRET","data":{"a":"SECRET"', "truncated"),
        (decode_request, b'"SECRET"', "object"),
        (decode_request, b'{"data":{"SECRET":"SECRET"}}', "request_id"),
        (decode_request, b'{"request_id":"SECRET"}', "data"),
        (decode_request, b'{"request_id":["SECRET"],"data":{}}', "$.request_id"),
        (decode_request, b'{"request_id":"r","data":"SECRET"}', "$.data"),
        (decode_request, b'{"request_id":"r","data":["SECRET"]}', "$.data"),
        (decode_request, b'{"request_id":"r","data":{},"stream":"SECRET"}', "$.stream"),
        (decode_request, b'{"request_id":"r","data":{},"metadata":["SECRET"]}', "$.metadata"),
        (decode_request, b'{"request_id":"r","data":{},"task":{"task_id":"SECRET"}}', "$.task.task_id"),
        (decode_request, b'{"request_id":"SECRET \xff","data":{}}', "byte 0xff"),
        (decode_result, encode(RESULT).replace(b"completed", b"SECRET"), "$.outcome"),
        (decode_result, encode(RESULT).replace(b"completed", b"it's 'SECRET' - at"), "$.outcome"),
        (decode_result, b'{"request_id":"SECRET"}', "usage"),
        (decode_frames, b'{"SECRET":1}', "array"),
        (decode_frames, b'[{"request_id":"SECRET","event_id":"e","seq":"SECRET"}]', "$[0].seq"),
        (decode_control, b'{"cancel":[["SECRET"]]}', "$.cancel[0]"),
        (decode_notice, b'{"type":"SECRET"}', "$.type"),
    ],
)
def test_a_bad_message_is_named_by_place_never_by_content(
    decode: Callable[[bytes], object], body: bytes, place: str
) -> None:
    with pytest.raises(BadMessage) as caught:
        decode(body)
    assert place in str(caught.value)
    assert "SECRET" not in str(caught.value)


@quick
@given(st.binary())
def test_any_bytes_are_a_message_or_a_bad_message(body: bytes) -> None:
    for decode in DECODERS.values():
        with contextlib.suppress(BadMessage):
            decode(body)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
counts = st.integers(0, 2**53)
scalars = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts
objects = st.dictionaries(texts, scalars | st.lists(scalars, max_size=3), max_size=3)
raw_objects = objects.map(lambda value: msgspec.Raw(msgspec.json.encode(value)))
times = st.floats(0, 1e12)
tasks = st.builds(TaskRef, task_id=counts, node_id=texts, global_epoch=counts, regional_epoch=counts)
usages = st.builds(Usage, counts, counts, counts, st.none() | objects, st.none() | objects)


@quick
@given(
    st.builds(
        RequestMessage,
        request_id=texts,
        data=raw_objects,
        stream=st.booleans(),
        endpoint=st.none() | texts,
        metadata=st.none() | objects,
        reply_channel=st.none() | texts,
        task=st.none() | tasks,
        deadline=st.none() | times,
    )
)
def test_a_request_survives_the_wire(message: RequestMessage) -> None:
    assert encode(decode_request(encode(message))) == encode(message)
    assert bytes(decode_request(encode(message)).data) == bytes(message.data)


@quick
@given(usages, raw_objects, st.none() | objects, st.none() | tasks, times)
def test_a_result_survives_the_wire(
    usage: Usage, response: msgspec.Raw, error: dict[str, Any] | None, task: TaskRef | None, at: float
) -> None:
    message = msgspec.structs.replace(
        RESULT,
        usage=usage,
        response=response,
        error=error,
        task=task,
        timestamps=Timestamps(received_at=at, finished_at=at),
    )
    again = decode_result(encode(message))
    assert encode(again) == encode(message)
    assert (again.usage, again.error, again.task, again.timestamps) == (usage, error, task, message.timestamps)


def test_no_usage_is_zero() -> None:
    assert msgspec.to_builtins(NO_USAGE) == {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
