"""The objects of one kind as they are known, whoever tells of them: streams, lists, answers to our own writes. Pure.

What is older than what is known changes nothing: a list may have been made before an event that came first. Versions
are compared as numbers: https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Object = dict[str, Any]

# Deleted objects are remembered, so that an older list does not bring them back.
MOST_DELETED = 10_000


class Objects:
    """By uid."""

    def __init__(self) -> None:
        self._known: dict[str, Object] = {}
        self._deleted: dict[str, int] = {}
        self._streamed: dict[str, int] = {}
        self._suspects: dict[str, float] = {}

    def saw(self, body: Object) -> bool:
        """It is so; whether that is news."""
        uid = body["metadata"]["uid"]
        before = self._known.get(uid)
        newest = self._deleted.get(uid, -1) if before is None else version(before)
        if version(body) <= newest:
            return False
        self._known[uid] = body
        return True

    def lost(self, body: Object) -> bool:
        """It is deleted, or no longer selected; whether that is news."""
        uid = body["metadata"]["uid"]
        if uid in self._known and version(body) < version(self._known[uid]):
            return False
        self._streamed.pop(uid, None)
        self._deleted[uid] = version(body)
        if len(self._deleted) > MOST_DELETED:
            del self._deleted[next(iter(self._deleted))]
        return self._known.pop(uid, None) is not None

    def streamed(self, body: Object, deleted: bool) -> None:
        """A stream has brought it."""
        uid = body["metadata"]["uid"]
        self._suspects.pop(uid, None)
        if not deleted:
            self._streamed[uid] = version(body)

    def listed(self, items: Iterable[Object], at: str, namespace: str, now: float) -> list[Object]:
        """A list of `namespace`, or of all if that is empty, has shown all that there was at the version `at`. Gives
        back what is gone. `now` is when.
        """
        there = {body["metadata"]["uid"]: body for body in items}
        for uid, body in there.items():
            if version(body) > max(self._streamed.get(uid, -1), self._deleted.get(uid, -1)):
                self._suspects.setdefault(uid, now)
        gone = [
            body | {"metadata": body["metadata"] | {"resourceVersion": at}}
            for uid, body in self._known.items()
            if uid not in there and _within(body, namespace) and version(body) <= _number(at)
        ]
        for body in gone:
            self._suspects.setdefault(body["metadata"]["uid"], now)
        return gone

    def missed(self, before: float) -> int:
        """How many changes that a list has shown before that time no stream has brought since. Told once."""
        missed = [uid for uid, at in self._suspects.items() if at <= before]
        for uid in missed:
            del self._suspects[uid]
        return len(missed)


def version(body: Object) -> int:
    """Of an object: a later state has a larger one."""
    return _number(body["metadata"].get("resourceVersion", ""))


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else 0


def _within(body: Object, namespace: str) -> bool:
    return not namespace or body["metadata"]["namespace"] == namespace
