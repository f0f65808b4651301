"""The errors of clients (see the tree in core.errors)."""

from __future__ import annotations

from typing import Any

from core.errors import AgentOSError


class GatewayUnavailable(AgentOSError):
    """No gateway answers at the addresses given, or it cannot serve now; the text says what to do."""


class GatewayRefused(AgentOSError):
    """The gateway does not take a request. `status`: of HTTP; `error`: the inside of the OpenAI error object."""

    def __init__(self, status: int, error: dict[str, Any]) -> None:
        place = f" (at {error['param']})" if error.get("param") else ""
        super().__init__(f"refused with status {status}: {error.get('message') or 'without a reason'}{place}")
        self.status = status
        self.error = error

    @property
    def code(self) -> str:
        """The error's name."""
        return str(self.error.get("code") or self.error.get("type") or f"status {self.status}")


class TaskFailed(AgentOSError):
    """A task has ended without its result: it failed, was cancelled or has expired. `task`: its object.

    The text holds names alone: the message of an upstream's error, in `task["error"]`, may quote a prompt.
    """

    def __init__(self, task: dict[str, Any]) -> None:
        error = task.get("error") or {}
        place = f" at {error['param']}" if error.get("param") else ""
        why = f": {error['code']}{place}" if error.get("code") else ""
        super().__init__(f"{task['id']} is {task['status']}{why}")
        self.task = task
        self.status: str = task["status"]

    @property
    def code(self) -> str:
        """The error's name, else the status."""
        return str((self.task.get("error") or {}).get("code") or self.status)
