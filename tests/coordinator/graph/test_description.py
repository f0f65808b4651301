from __future__ import annotations

import json
import time
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.graph.description import Description, DescriptionRefused, decode, encode, parse, revise
from core.errors import BadMessage

SECRET = "SECRET"


def node(node_id: str = "a", content: Any = SECRET, **fields: Any) -> dict[str, Any]:
    return {"id": node_id, "model": "m", "body": {"messages": [{"role": "user", "content": content}]}} | fields


def task(*nodes: dict[str, Any], **fields: Any) -> bytes:
    return json.dumps({"nodes": nodes} | fields).encode()


def body(**fields: Any) -> dict[str, Any]:
    return node(body={"messages": [{"content": SECRET}]} | fields)


def parsed(*nodes: dict[str, Any], **fields: Any) -> Description:
    return parse(task(*nodes, **fields), max_nodes=100)


def test_a_description_is_read_with_all_its_fields() -> None:
    description = parsed(
        node("a", retries=2, deadline_seconds=1.5),
        node("b", depends_on=["a", "a"]),
        user="älice",
        priority=-100,
        deadline_seconds=60,
        budget={"tokens": 5, "money": 0.5},
        metadata={"k" * 64: "v" * 512},
        on_failure="continue",
        open=True,
    )
    assert [spec.id for spec in description.nodes] == ["a", "b"]
    assert (description.nodes[0].retries, description.nodes[0].deadline_seconds) == (2, 1.5)
    assert description.nodes[1].depends_on == ["a"]
    assert (description.user, description.priority, description.on_failure) == ("älice", -100, "continue")
    assert description.budget is not None
    assert decode(encode(description)) == description


def test_a_reference_is_a_dependency_by_itself() -> None:
    description = parsed(
        node("z", "${{ list }} of ${{ a.response $.usage }}", depends_on=["b"]),
        node("list", "${{ item }} ${{ index }} ${{ b }} ${{ document:3 }}", for_each="${{ a $.steps }}"),
        node("a"),
        node("b"),
        node("d", for_each="${{ document:5 }}"),
    )
    depends = {spec.id: spec.depends_on for spec in description.nodes}
    assert depends == {"z": ["b", "list", "a"], "list": ["a", "b"], "a": [], "b": [], "d": []}


def test_messages_may_be_taken_from_an_earlier_answer() -> None:
    messages = ["${{ a.response $.choices[0].message }}", {"role": "tool", "content": "x"}]
    assert parsed(node("a"), node("b", body={"messages": messages})).nodes[1].depends_on == ["a"]


@pytest.mark.parametrize(
    "texts",
    [
        "",
        "x",
        "${{ a }}",
        ["x", "a ${{ a }}"],
        ["${{ a $ }}", [1]],
        [1, "${{ a $[0] }}"],
        [["${{ a $[0] }}"]],
        [[1], [2]],
    ],
)
@pytest.mark.parametrize("field", ["prompt", "input"])
def test_a_body_may_have_texts_in_place_of_messages(field: str, texts: Any) -> None:
    description = parsed(node("a"), node("b", body={field: texts}))
    assert description.nodes[1].body == {field: texts}
    assert description.nodes[1].depends_on == (["a"] if "${{ a" in json.dumps(texts) else [])


def test_a_model_in_the_body_stays() -> None:
    assert parsed(body(model="other", stream=False)).nodes[0].body["model"] == "other"


def test_a_task_without_nodes_must_be_open() -> None:
    assert parsed(open=True).nodes == []


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


WRONG = [
    (b"", ""),
    (b"{", ""),
    (b"[]", ""),
    (b'{"nodes": [] "SECRET"}', ""),
    (b'{"nodes": ["\xff"]}', ""),
    (b"[" * 100_000 + b"]" * 100_000, ""),
    (b"{}", "/nodes"),
    (task(), "/nodes"),
    (task(node(), nods=1), "/nods"),
    (task(node(), **{"a/b": 1}), "/a~1b"),
    (task(node(), user=5), "/user"),
    (task(node(), user="a\u0000"), "/user"),
    (task(node(), user="a" * 257), "/user"),
    (task(node(), priority=101), "/priority"),
    (task(node(), priority=1.5), "/priority"),
    (task(node(), priority=True), "/priority"),
    (task(node(), deadline_seconds=0), "/deadline_seconds"),
    (task(node(), deadline_seconds=1e300), "/deadline_seconds"),
    (task(node(), budget=5), "/budget"),
    (task(node(), budget={"tokens": 0}), "/budget/tokens"),
    (task(node(), budget={"money": -1}), "/budget/money"),
    (task(node(), budget={"dollars": 1}), "/budget/dollars"),
    (task(node(), metadata={"k": 1}), "/metadata"),
    (task(node(), metadata={"": "v"}), "/metadata"),
    (task(node(), metadata={"k" * 65: "v"}), "/metadata"),
    (task(node(), metadata={"k": "v" * 513}), "/metadata/k"),
    (task(node(), metadata={str(k): "v" for k in range(17)}), "/metadata"),
    (task(node(), on_failure="SECRET"), "/on_failure"),
    (task(node(), open="yes"), "/open"),
    (task(*(node(f"n{k}") for k in range(101))), "/nodes"),
    (task({"id": "a"}), "/nodes/0/model"),
    (task(node(), node("b", extra=1)), "/nodes/1/extra"),
    (task(node("")), "/nodes/0/id"),
    (task(node("a b")), "/nodes/0/id"),
    (task(node("a\n")), "/nodes/0/id"),
    (task(node("a" * 65)), "/nodes/0/id"),
    (task(node("item")), "/nodes/0/id"),
    (task(node("b"), node("index")), "/nodes/1/id"),
    (task(node(), node()), "/nodes/1/id"),
    (task(node(model="")), "/nodes/0/model"),
    (task(node(retries=-1)), "/nodes/0/retries"),
    (task(node(retries=101)), "/nodes/0/retries"),
    (task(node(deadline_seconds=-1)), "/nodes/0/deadline_seconds"),
    (task(node(depends_on="b")), "/nodes/0/depends_on"),
    (task(node(depends_on=[1])), "/nodes/0/depends_on/0"),
    (task(node(), node("c", depends_on=["a", "b"])), "/nodes/1/depends_on/1"),
    (task(node(depends_on=["a"])), "/nodes/0"),
    (task(node(content="${{ a }}")), "/nodes/0"),
    (task(node("x"), node("a", depends_on=["b"]), node("b", "${{ a }}")), "/nodes/1"),
    (task(node("b", for_each="${{ b }}")), "/nodes/0"),
    (task(node(body=[])), "/nodes/0/body"),
    (task(node(body={})), "/nodes/0/body/messages"),
    (task(body(messages=[])), "/nodes/0/body/messages"),
    (task(body(messages=SECRET)), "/nodes/0/body/messages"),
    (task(body(messages="${{ b }}"), node("b")), "/nodes/0/body/messages"),
    (task(body(messages=[{}, SECRET])), "/nodes/0/body/messages/1"),
    (task(body(messages=["x ${{ b }}"]), node("b")), "/nodes/0/body/messages/0"),
    (task(node(body={"prompt": None})), "/nodes/0/body/prompt"),
    (task(node(body={"input": []})), "/nodes/0/body/input"),
    (task(node(body={"input": {"SECRET": 1}})), "/nodes/0/body/input"),
    (task(node(body={"input": ["a", 1]})), "/nodes/0/body/input"),
    (task(node(body={"input": ["x ${{ b }}", 1]}), node("b")), "/nodes/0/body/input"),
    (task(node(body={"prompt": "x", "stream": True})), "/nodes/0/body/stream"),
    (task(body(stream=True)), "/nodes/0/body/stream"),
    (task(body(stream=0)), "/nodes/0/body/stream"),
    (task(body(stream="${{ b }}"), node("b")), "/nodes/0/body/stream"),
    (task(body(model=5)), "/nodes/0/body/model"),
    (task(body(x=nested(101))), "/nodes/0/body"),
    (task(body(x=nested(900))), "/nodes/0/body"),
    (b'{"nodes": [{"id": "a", "model": "m", "body": {"messages": [{}], "SECRET": 1e999}}]}', "/nodes/0/body"),
    (task(node(content="${{ b }}")), "/nodes/0/body/messages/0/content"),
    (task(node(content="SECRET ${{ b")), "/nodes/0/body/messages/0/content"),
    (task(node(content="${{ b $.SECRET[ }}"), node("b")), "/nodes/0/body/messages/0/content"),
    (task(node(content="${{ item }}")), "/nodes/0/body/messages/0/content"),
    (task(body(**{"a/b": ["${{ index }}"]})), "/nodes/0/body/a~1b/0"),
    (task(node(for_each="SECRET")), "/nodes/0/for_each"),
    (task(node(for_each="${{ item }}")), "/nodes/0/for_each"),
    (task(node(for_each="${{ b }}")), "/nodes/0/for_each"),
    (task(node(for_each="${{ b }} ${{ b }}"), node("b")), "/nodes/0/for_each"),
    (task(node(for_each="${{ b ")), "/nodes/0/for_each"),
]


@pytest.mark.parametrize(("sent", "pointer"), WRONG, ids=[f"{k} {at}" for k, (_, at) in enumerate(WRONG)])
def test_what_is_wrong_is_refused_with_its_place_and_without_content(sent: bytes, pointer: str) -> None:
    with pytest.raises(DescriptionRefused) as refused:
        parse(sent, max_nodes=100)
    assert refused.value.pointer == pointer
    assert refused.value.message.endswith(".")
    assert SECRET not in refused.value.message
    assert isinstance(refused.value, BadMessage)


def test_a_cycle_is_named() -> None:
    around = [node("in", depends_on=["a"]), *(node(a, depends_on=[b]) for a, b in ("ab", "bc", "ca"))]
    with pytest.raises(DescriptionRefused) as refused:
        parsed(*around)
    assert refused.value.pointer == "/nodes/1"
    assert "a → b → c → a" in refused.value.message


@given(edges=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=30))
def test_a_graph_is_taken_exactly_if_it_has_no_cycle(edges: list[tuple[int, int]]) -> None:
    depends: dict[int, set[int]] = {k: set() for k in range(10)}
    for later, earlier in edges:
        depends[later].add(earlier)
    left = dict(depends)
    while free := [k for k, before in left.items() if not before & left.keys()]:
        for k in free:
            del left[k]
    nodes = [node(f"n{k}", depends_on=[f"n{each}" for each in sorted(before)]) for k, before in depends.items()]
    if not left:
        assert len(parsed(*nodes).nodes) == 10
        return
    with pytest.raises(DescriptionRefused) as refused:
        parsed(*nodes)
    told = [int(each.split()[0][1:]) for each in refused.value.message.split(": ")[1].split(" → ")]
    assert refused.value.pointer == f"/nodes/{told[0]}"
    assert told[0] == told[-1]
    assert all(after in depends[before] for before, after in pairwise(told))


def patched(description: Description, *nodes: dict[str, Any], **fields: Any) -> Description:
    return revise(description, task(*nodes, **fields), max_nodes=4)


def test_a_patch_adds_nodes_that_may_depend_on_those_that_were_there() -> None:
    first = parsed(node("a"), open=True, user="u")
    second = patched(first, node("b", "${{ a }}"), node("c", depends_on=["b"]))
    assert [(spec.id, spec.depends_on) for spec in second.nodes] == [("a", []), ("b", ["a"]), ("c", ["b"])]
    assert (second.open, second.user) == (True, "u")
    assert not revise(second, b'{"open": false}', max_nodes=4).open
    assert first.nodes == second.nodes[:1]


def test_the_same_patch_again_changes_nothing() -> None:
    first = parsed(node("a"), open=True)
    second = patched(first, node("b", "${{ a }}"))
    assert patched(second, node("b", "${{ a }}"), node("a")) == second
    assert revise(second, b"{}", max_nodes=4) == second


@pytest.mark.parametrize(
    ("nodes", "pointer"),
    [
        ([node("b"), node("a", "other")], "/nodes/1/id"),
        ([node("b"), node("b", "other")], "/nodes/1/id"),
        ([node("b", depends_on=["x"])], "/nodes/0/depends_on/0"),
        ([node("b", "${{ c }}"), node("c", "${{ b }}")], "/nodes/0"),
        ([node(f"n{k}") for k in range(4)], "/nodes"),
        ([node("b", body={})], "/nodes/0/body/messages"),
    ],
)
def test_a_wrong_patch_is_refused_with_a_pointer_into_it(nodes: list[dict[str, Any]], pointer: str) -> None:
    with pytest.raises(DescriptionRefused) as refused:
        patched(parsed(node("a")), *nodes)
    assert refused.value.pointer == pointer


def test_a_patch_changes_nodes_and_open_alone() -> None:
    with pytest.raises(DescriptionRefused) as refused:
        patched(parsed(node("a")), user="other")
    assert refused.value.pointer == "/user"


@pytest.mark.parametrize("by_reference", [False, True])
def test_ten_thousand_nodes_are_read_quickly(by_reference: bool) -> None:
    def dependent(k: int) -> dict[str, Any]:
        before = [f"n{each}" for each in (k - 1, k - 7) if each >= 0]
        if by_reference:
            return node(f"n{k}", " and ".join(f"${{{{ {name} $.x }}}}" for name in before))
        return node(f"n{k}", depends_on=before)

    sent = task(*(dependent(k) for k in range(10_000)))
    began = time.process_time()
    description = parse(sent, max_nodes=10_000)
    assert time.process_time() - began < 5
    assert sum(len(spec.depends_on) for spec in description.nodes) == 19_992
