"""What a Node says about a Pod: pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tests.nodeagent.spec import Object, Pod


@dataclass
class Life:
    """One container over all of its processes."""

    name: str
    image: str
    state: Object = field(default_factory=lambda: {"waiting": {"reason": "PodInitializing"}})
    last: Object = field(default_factory=dict)
    restarts: int = 0
    ready: bool = False
    started: bool = False

    @property
    def code(self) -> int | None:
        """Of the process that has ended, if it has."""
        ended = self.state.get("terminated")
        return ended["exitCode"] if ended else None

    @property
    def ran(self) -> bool:
        """Whether a process of it runs or has run."""
        return "waiting" not in self.state or bool(self.last)

    def waits(self, reason: str, message: str = "") -> None:
        if "terminated" in self.state:
            self.last = self.state
        self.state = {"waiting": {"reason": reason, "message": message}}
        self.ready = self.started = False

    def runs(self, now: float) -> None:
        if self.ran:
            self.restarts += 1
        if "terminated" in self.state:
            self.last = self.state
        self.state = {"running": {"startedAt": stamp(now)}}

    def ends(self, code: int, began: float, now: float) -> None:
        times = {"startedAt": stamp(began), "finishedAt": stamp(now)}
        self.state = {"terminated": {"exitCode": code, "reason": "Error" if code else "Completed", **times}}
        self.ready = self.started = False

    def told(self) -> Object:
        return {
            "name": self.name,
            "image": self.image,
            "imageID": self.image,
            "state": self.state,
            "lastState": self.last,
            "restartCount": self.restarts,
            "ready": self.ready,
            "started": self.started,
        }


class Teller:
    """The status of one Pod; remembers when each condition turned."""

    def __init__(self, pod: Pod, address: str, began: float) -> None:
        self._pod = pod
        self._address = address
        self._began = began
        self._turned: dict[str, tuple[str, str]] = {}

    def status(self, first: Sequence[Life], lives: Sequence[Life], *, over: bool, now: float) -> Object:
        """`first`: the init containers. `over`: nothing of it will run again."""
        return {
            "phase": phase(first, lives, over=over),
            "conditions": [self._condition(*each, now) for each in conditions(first, lives)],
            "initContainerStatuses": [each.told() for each in first],
            "containerStatuses": [each.told() for each in lives],
            "startTime": stamp(self._began),
            "hostIP": "127.0.0.1",
            "podIP": self._address,
            "podIPs": [{"$patch": "replace"}, {"ip": self._address}],  # it may have had another
        }

    def _condition(self, kind: str, holds: bool, reason: str, now: float) -> Object:
        status = "True" if holds else "False"
        if self._turned.get(kind, ("", ""))[0] != status:
            self._turned[kind] = (status, stamp(now))
        found: Object = {"type": kind, "status": status, "lastTransitionTime": self._turned[kind][1]}
        return found | {"reason": None if holds else reason}


def initialized(first: Sequence[Life]) -> bool:
    return all(each.code == 0 for each in first)


def phase(first: Sequence[Life], lives: Sequence[Life], *, over: bool) -> str:
    """https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-phase"""
    if over:
        return "Succeeded" if all(each.code == 0 for each in [*first, *lives]) else "Failed"
    return "Running" if initialized(first) and all(each.ran for each in lives) else "Pending"


def conditions(first: Sequence[Life], lives: Sequence[Life]) -> list[tuple[str, bool, str]]:
    """Type, whether it holds, and the reason if it does not."""
    ready = all(each.ready for each in lives)
    why = "PodCompleted" if all(each.code == 0 for each in lives) else "ContainersNotReady"
    return [
        ("PodReadyToStartContainers", True, ""),
        ("Initialized", initialized(first), "ContainersNotInitialized"),
        ("ContainersReady", ready, why),
        ("Ready", ready, why),
    ]


def stamp(now: float) -> str:
    """A moment as the API writes it."""
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def micro_stamp(now: float) -> str:
    """The same with microseconds, as Leases have it."""
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
