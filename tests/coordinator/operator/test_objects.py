"""What is known of objects, whoever tells of them and in whatever order."""

from __future__ import annotations

from coordinator.operator.reconcile.objects import Object, Objects


def body(version: int, uid: str = "u", namespace: str = "n") -> Object:
    return {"metadata": {"uid": uid, "namespace": namespace, "name": uid, "resourceVersion": str(version)}}


def uids(bodies: list[Object]) -> list[str]:
    return [each["metadata"]["uid"] for each in bodies]


def test_only_what_is_newer_is_news() -> None:
    objects = Objects()
    assert objects.saw(body(5))
    assert not objects.saw(body(5))
    assert not objects.saw(body(4))
    assert objects.saw(body(10))  # as numbers: "10" is after "9"
    assert not objects.saw(body(9))


def test_an_older_list_does_not_bring_back_what_is_deleted() -> None:
    objects = Objects()
    objects.saw(body(5))
    assert objects.lost(body(6))
    assert not objects.lost(body(6))
    assert not objects.saw(body(5))
    # No longer selected, and then again: the same object is there with a later version.
    assert objects.saw(body(7))
    assert not objects.lost(body(6))  # said late


def test_what_a_list_does_not_show_is_gone_unless_it_came_later() -> None:
    objects = Objects()
    for version, uid in ((5, "old"), (9, "new")):
        objects.saw(body(version, uid))
    objects.saw(body(5, "elsewhere", "m"))
    [gone] = objects.listed([], "8", "n", now=0.0)
    assert gone["metadata"]["uid"] == "old"
    assert objects.lost(gone)
    assert not objects.saw(body(5, "old"))
    assert uids(objects.listed([], "8", "", now=0.0)) == ["elsewhere"]


def test_what_only_lists_have_shown_is_missed_once_and_not_too_early() -> None:
    objects = Objects()
    objects.streamed(body(5, "streamed"), deleted=False)
    items = [body(5, "streamed"), body(6, "late"), body(7, "never")]
    objects.listed(items, "8", "", now=10.0)
    objects.listed(items, "9", "", now=20.0)
    objects.streamed(body(6, "late"), deleted=False)
    assert objects.missed(before=9.0) == 0
    assert objects.missed(before=10.0) == 1
    assert objects.missed(before=10.0) == 0


def test_deletions_are_missed_too() -> None:
    objects = Objects()
    for uid in ("told", "untold"):
        objects.saw(body(5, uid))
        objects.streamed(body(5, uid), deleted=False)
    for gone in objects.listed([], "8", "", now=0.0):
        objects.lost(gone)
    objects.streamed(body(6, "told"), deleted=True)
    assert objects.missed(before=1.0) == 1


def test_what_is_not_a_number_is_believed_once() -> None:
    objects = Objects()
    odd = {"metadata": {"uid": "u", "namespace": "n", "resourceVersion": "abc"}}
    assert objects.saw(odd)
    assert not objects.saw(odd)
