"""The errors of backends and of replies (see the tree in core.errors)."""

from __future__ import annotations

from bus.messages import Usage
from core.errors import AgentOSError
from workernode.classify import Verdict
from workernode.limits.availability import Fault


class BackendUnavailable(AgentOSError):
    """The backend cannot serve calls now; the text says why. `fault`: what only a person can mend, if it is that."""

    def __init__(self, text: str, fault: Fault | None = None) -> None:
        super().__init__(text)
        self.fault = fault


class NotNow(AgentOSError):
    """This node is not to make the call now; another may. The text says why."""


class Dropped(AgentOSError):
    """A request that waited here for a batch cannot be served in time any more."""


class LeaseLost(AgentOSError):
    """Another worker may have the message by now: this one tells nobody."""


class EndpointRefused(AgentOSError):
    """A message's `endpoint` is none that may be replied to, or leads elsewhere; the text says why."""


class CallFailed(AgentOSError):
    """An upstream call ended without a usable answer.

    `status` and `error` (the inside of an OpenAI error object) are what the client is told if this is final, as
    `retry` says; `retry_after` is the wait in seconds that the upstream asked for. `reached_provider`: the call may
    have cost money. `usage`: what a broken stream had used, estimated. `node_unavailable`: see `Verdict`.
    The text holds status and code alone: an upstream's message may quote the prompt.
    """

    def __init__(self, verdict: Verdict, *, reached_provider: bool = True, usage: Usage | None = None) -> None:
        super().__init__(f"upstream call failed: status {verdict.status}, code {verdict.error.get('code')}")
        self.verdict = verdict
        self.status = verdict.status
        self.error = verdict.error
        self.retry = verdict.retry
        self.retry_after = verdict.retry_after
        self.node_unavailable = verdict.node_unavailable
        self.reached_provider = reached_provider
        self.usage = usage
