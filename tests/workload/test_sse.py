from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workload.sse import Parser, Sent

STREAM = (
    ": ping\n\n"
    'id: 1\nevent: node.running\ndata: {"node": "å"}\n\n'
    "data: two\ndata: lines\n\n"
    "event: nothing\n\n"
    "retry: 5\nid:2\ndata:no space\n\n"
    "data\n\n"
)
EVENTS = [
    Sent("1", "node.running", '{"node": "å"}'),
    Sent("1", "message", "two\nlines"),
    Sent("2", "message", "no space"),
    Sent("2", "message", ""),
]


@given(st.lists(st.integers(0, len(STREAM.encode()))), st.sampled_from(["\n", "\r\n"]))
def test_events_are_the_same_however_they_are_cut(cuts: list[int], end: str) -> None:
    whole = STREAM.replace("\n", end).encode()
    places = [0, *sorted(cuts), len(whole)]
    parser = Parser()
    pieces = [whole[start:stop] for start, stop in itertools.pairwise(places)]
    assert [event for piece in pieces for event in parser.feed(piece)] == EVENTS


@pytest.mark.parametrize("rest", ["data: half", "data: half\n"])
def test_an_event_that_is_not_whole_is_none(rest: str) -> None:
    assert Parser().feed(rest.encode()) == []
