"""Any graph, any outcomes, any owner: it ends the same, and no call is made twice."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from bus.messages import Outcome
from coordinator.graph.description import Description, revise
from coordinator.graph.graph import Graph, NodeStatus
from store import TaskState
from tests.coordinator.graph.sketches import description, node
from tests.coordinator.graph.world import Fate, World, by_chance, ended, play

EXAMPLES = 60
ENDED = {"completed", "failed", "cancelled", "expired", "skipped"}


@st.composite
def graphs(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Nodes that depend on those before them, some of them once for each item of a list."""
    nodes: list[dict[str, Any]] = []
    for number in range(draw(st.integers(1, 9))):
        before = draw(st.lists(st.sampled_from(nodes), max_size=3, unique_by=id)) if nodes else []
        name = "n" * draw(st.integers(1, 4)) + str(number)
        fields: dict[str, Any] = {"retries": draw(st.integers(0, 2))}
        if before and draw(st.integers(0, 2)) == 0:
            source = before[0]
            fields["for_each"] = (
                f"${{{{ {source['id']} }}}}" if "for_each" in source else f"${{{{ {source['id']} $.list }}}}"
            )
        references = " ".join(f"${{{{ {each['id']} }}}}" for each in before[1:])
        depends = [each["id"] for each in before[:1]]
        nodes.append(node(name, "to do: " + references, depends_on=depends, **fields))
    return nodes


@st.composite
def stories(draw: st.DrawFn) -> tuple[list[dict[str, Any]], Fate, int]:
    seed = draw(st.integers(0, 2**16))
    rate = draw(st.sampled_from([0.0, 0.2, 0.6]))
    outcomes: list[Outcome] = ["failed", "quarantined", "expired", "cancelled"]
    outcomes = outcomes[: draw(st.sampled_from([1, 4]))]
    return draw(graphs()), by_chance(seed, rate, outcomes), seed


def played(standing: Description, fate: Fate, seed: int, *, bad_luck: bool) -> World:
    world = World(standing, fate)
    play(world, Random(seed), bad_luck=bad_luck)
    return world


@settings(max_examples=EXAMPLES, deadline=None)
@given(story=stories())
def test_a_graph_that_goes_on_after_failures_ends_the_same_whoever_owned_it(
    story: tuple[list[dict[str, Any]], Fate, int],
) -> None:
    nodes, fate, seed = story
    standing = description(*nodes, on_failure="continue")
    calm = played(standing, fate, seed, bad_luck=False)
    wild = played(standing, fate, seed + 1, bad_luck=True)
    assert ended(wild) == ended(calm)
    assert wild.calls == calm.calls
    state, told = ended(calm)
    assert state is not None
    assert {status for status, _ in told.values()} <= ENDED
    assert (state is TaskState.COMPLETED) == all(status is NodeStatus.COMPLETED for status, _ in told.values())
    assert (calm.graph.path, calm.graph.work, wild.graph.work) == (0.0, 0.0, 0.0)
    assert calm.graph.usage.total_tokens == 2 * len(calm.calls)
    assert (calm.graph.error is None) == (state is TaskState.COMPLETED)


@settings(max_examples=EXAMPLES, deadline=None)
@given(story=stories())
def test_a_graph_that_stops_at_a_failure_does_so_under_every_owner(
    story: tuple[list[dict[str, Any]], Fate, int],
) -> None:
    nodes, fate, seed = story
    on = played(description(*nodes, on_failure="continue"), fate, seed, bad_luck=False)
    wild = played(description(*nodes), fate, seed + 1, bad_luck=True)
    assert wild.graph.state is not None
    assert (wild.graph.state is TaskState.COMPLETED) == (on.graph.state is TaskState.COMPLETED)
    assert wild.calls <= on.calls
    left = {status for status, _ in ended(wild)[1].values()} - ENDED
    assert left <= {NodeStatus.RUNNING}
    assert set(wild.in_flight) <= set(wild.graph.running())
    again = World(wild.description, fate)
    again.rows, again.documents = wild.rows, wild.documents
    again.change_owner(Random(seed))
    assert again.graph.state is not None


@settings(max_examples=EXAMPLES, deadline=None)
@given(story=stories(), cut=st.integers(0, 9), stop_at=st.integers(0, 30))
def test_nodes_that_come_later_end_as_if_they_had_been_there(
    story: tuple[list[dict[str, Any]], Fate, int], cut: int, stop_at: int
) -> None:
    nodes, fate, seed = story
    whole = played(description(*nodes, on_failure="continue"), fate, seed, bad_luck=False)
    world = World(description(*nodes[:cut], on_failure="continue", open=True), fate)
    play(world, Random(seed), bad_luck=False, stop_at=stop_at)
    assert world.graph.state is None
    patch = json.dumps({"nodes": nodes, "open": False}).encode()
    world.description = revise(world.description, patch, max_nodes=100)
    ready = world.graph.take_ready()
    world.graph.revise(world.description)
    known = Graph(world.description)
    world.graph.weigh(lambda model: 2.0)
    known.weigh(lambda model: 2.0)
    assert {name: world.graph.tail(name) for name in ready} == {name: known.tail(name) for name in ready}
    world.change_owner(Random(seed))
    play(world, Random(seed), bad_luck=True)
    assert ended(world) == ended(whole)
