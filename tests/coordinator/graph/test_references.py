from __future__ import annotations

import json
from typing import Any

import pytest

from coordinator.graph.outputs import Outputs, Unresolved, parsed, select, select_list
from coordinator.graph.references import (
    MAX_DEPTH,
    BadReference,
    Reference,
    ReferenceFailed,
    fill,
    find,
    pointer,
    split,
)


def node(name: str, *, whole: bool = False, path: str | None = None) -> Reference:
    return Reference("node", name, whole=whole, path=path)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("plain", ("plain",)),
        ("$ {{ a }}", ("$ {{ a }}",)),
        ("${{ a }}", (node("a"),)),
        ("${{a}}", (node("a"),)),
        ("${{\n a\t}}", (node("a"),)),
        ("x ${{ a-1 }}${{ b_2 }} y", ("x ", node("a-1"), node("b_2"), " y")),
        ("${{ a.response }}", (node("a", whole=True),)),
        ("${{ a $.x[0].y }}", (node("a", path="$.x[0].y"),)),
        ("${{ a.response $ }}", (node("a", whole=True, path="$"),)),
        ("${{ a $['}}'] }}}}", (node("a", path="$['}}']"), "}}")),
        ('${{ a $["it\'s }}"] }}', (node("a", path='$["it\'s }}"]'),)),
        ("${{ a $[?@.x == 'y z'].k }}", (node("a", path="$[?@.x == 'y z'].k"),)),
        ("${{ document:12 }}", (Reference("document", number=12),)),
        ("${{ document:12 $.a }}", (Reference("document", number=12, path="$.a"),)),
        ("${{ item }} ${{ item $.n }} ${{ index }}", None),
        ("$${{ a }}", ("${{ a }}",)),
        ("$$${{ a }}", ("$${{ a }}",)),
        ("$${{ a }} ${{ a }}", ("${{ a }} ", node("a"))),
    ],
)
def test_a_string_is_text_and_references(text: str, parts: tuple[str | Reference, ...] | None) -> None:
    if parts is None:
        parts = (Reference("item"), " ", Reference("item", path="$.n"), " ", Reference("index"))
    assert split(text) == parts


@pytest.mark.parametrize(
    "text",
    [
        "${{ a",
        "${{ a }",
        "${{ a $['}} ",
        "${{ }}",
        "${{ a b }}",
        "${{ a.b }}",
        "${{ ä }}",
        "${{ document:x }}",
        "${{ document:12.response }}",
        "${{ a$.x }}",
        "${{ a $.x[ }}",
        "${{ a $.x | $.y }}",
        "${{ a $[?match(@, 'x')] }}",
        "${{ a $[?search(@, '(x|x)*y')] }}",
        "${{ a $[?nothing(@)] }}",
        "${{ a $[?typeof(@) == 'x'] }}",
        "${{ a $.~ }}",
        pytest.param("${{ a $" + ".x" * 500 + " }}", id="a long path"),
        pytest.param("${{ a $[?" + "(" * 900 + " }}", id="brackets"),
        pytest.param("${{ a $[?" + "!" * 900 + "@ }}", id="negations"),
        pytest.param("${{ a $" + "[?@" * 300 + " }}", id="filters"),
        "${{ index $.x }}",
        "${{ item.response }}",
        pytest.param(f"${{{{ {'a' * 65} }}}}", id="a long name"),
    ],
)
def test_what_is_no_reference_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(BadReference) as refused:
        find({"messages": [{"content": "SECRET " + text}]})
    assert refused.value.place == ("messages", 0, "content")
    assert "SECRET" not in str(refused.value)


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "text",
    ["${{ '" * 100_000, "${{ a $" + "[" * 200_000 + " }}", "$${{" * 300_000 + "${{"],
    ids=["open quotes", "brackets", "escapes"],
)
def test_text_that_only_looks_like_references_costs_no_more_than_its_length(text: str) -> None:
    with pytest.raises(BadReference):
        split(text)


def test_a_body_without_references_has_no_slots() -> None:
    assert find({"messages": [{"content": "hi {{ x }}"}], "n": 1, "stop": ["$", "}}"], "f": None}) == ()


def test_a_body_may_not_be_deeper_than_json_is_read() -> None:
    body: dict[str, Any] = {"messages": []}
    inner = body
    for _ in range(MAX_DEPTH + 1):
        inner["x"] = {}
        inner = inner["x"]
    with pytest.raises(BadReference):
        find(body)


VALUES: dict[str, Any] = {
    "s": "text",
    "n": 5,
    "o": {"k": [1, "ä"]},
    "l": [1, 2],
    "z": None,
    "outs": Outputs(["A", 7]),
}


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("${{ s }}", "text"),
        ("${{ n }}", 5),
        ("${{ o }}", {"k": [1, "ä"]}),
        ("${{ z }}", None),
        ("${{ outs }}", ["A", 7]),
        ("<${{ s }}>", "<text>"),
        ("${{ n }}${{ z }}", "5null"),
        (" ${{ o }}", ' {"k":[1,"ä"]}'),
        ("${{ l }} ", "[1,2] "),
        ("All:\n${{ outs }}", "All:\nA\n\n7"),
        ("$${{ s }} is ${{ s }}", "${{ s }} is text"),
    ],
)
def test_a_lone_reference_becomes_the_value_and_inside_text_its_text(text: str, filled: Any) -> None:
    body = {"deep": [{"content": text, "other": [1]}], "same": {"x": 1}}
    before = json.dumps(body)
    made = fill(body, find(body), lambda reference: VALUES[reference.name])
    assert made == {"deep": [{"content": filled, "other": [1]}], "same": {"x": 1}}
    assert json.dumps(body) == before
    assert type(made["deep"][0]["content"]) is type(filled)


def test_many_slots_in_one_container_are_all_filled() -> None:
    body = {"m": ["${{ s }}", {"a": "${{ n }}", "b": ["${{ s }}", "x"]}], "k/~": "${{ s }}"}
    made = fill(body, find(body), lambda reference: VALUES[reference.name])
    assert made == {"m": ["text", {"a": 5, "b": ["text", "x"]}], "k/~": "text"}


def test_what_cannot_be_filled_in_is_told_with_its_place_alone() -> None:
    def value(reference: Reference) -> Any:
        raise Unresolved("its path finds nothing")

    body = {"a/b~c": ["SECRET", "SECRET ${{ s }}"]}
    with pytest.raises(ReferenceFailed) as failed:
        fill(body, find(body), value)
    assert (failed.value.pointer, failed.value.reason) == ("/a~1b~0c/1", "its path finds nothing")
    assert failed.value.error["param"] == "/a~1b~0c/1"
    assert "SECRET" not in str(failed.value)


def test_a_pointer_is_that_of_rfc_6901() -> None:
    assert pointer(()) == ""
    assert pointer(("", "a/b", "m~n", 0)) == "//a~1b/m~0n/0"


DATA = {"a": [{"n": 1}, {"n": 2}], "one": [{"n": 3}], "s": "[1]", "z": None, "é": {"]": 9}}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("$", DATA),
        ("$.a[1].n", 2),
        ("$.a[-1]", {"n": 2}),
        ("$.a[*].n", [1, 2]),
        ("$..n", [1, 2, 3]),
        ("$.one[*].n", 3),
        ("$.a[?@.n > 1].n", 2),
        ("$.a[?length(@) == 1]", [{"n": 1}, {"n": 2}]),
        ("$.s", "[1]"),
        ("$.z", None),
        ("$['é'][']']", 9),
    ],
)
def test_one_match_is_the_value_and_several_are_a_list(path: str, found: Any) -> None:
    assert select(path, DATA) == found


@pytest.mark.parametrize(("path", "value"), [("$.b", DATA), ("$.a[7]", DATA), ("$[0]", "[1]"), ("$..*", 5)])
def test_a_path_that_finds_nothing_fails(path: str, value: Any) -> None:
    with pytest.raises(Unresolved, match="finds nothing"):
        select(path, value)


def test_a_text_is_not_parsed_twice() -> None:
    assert select("$", "[1]") == "[1]"


def test_a_path_has_its_bounds() -> None:
    deep: list[Any] = []
    for _ in range(200):
        deep = [deep]
    with pytest.raises(Unresolved, match="too deep"):
        select("$..x", deep)
    with pytest.raises(Unresolved, match="more than"):
        select("$[*,*][*,*][*,*]", [[[1] * 100] * 50] * 50)


@pytest.mark.parametrize(
    ("path", "items"),
    [("$.a", DATA["a"]), ("$.a[*].n", [1, 2]), ("$.one[*].n", [3]), ("$.a[?@.n > 9]", []), ("$.s", "[1]")],
)
def test_a_path_that_may_find_many_gives_a_list_also_of_one_or_none(path: str, items: Any) -> None:
    assert select_list(path, DATA) == items


@pytest.mark.parametrize("text", ["", "SECRET", "{'a': 1}", "NaN", pytest.param("[" * 5000 + "]" * 5000, id="deep")])
def test_what_is_no_json_fails_without_being_repeated(text: str) -> None:
    with pytest.raises(Unresolved) as failed:
        parsed(text)
    assert "SECRET" not in str(failed.value)
