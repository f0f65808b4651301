"""What a client asks of pipelines (docs/pipelines.md)."""

from __future__ import annotations

import math
import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import msgspec

from policy.slo.pipeline import Pipeline
from workload.door import SILENCE_SECONDS, Door

# Gateways wait no longer for the end of a request, in seconds.
LONGEST_WAIT = 3600


class PipelineCalls:
    """The part of a client that pipelines need. All raise `GatewayRefused` and `GatewayUnavailable`."""

    door: Door

    async def pipelines(self) -> list[dict[str, Any]]:
        """Those that there are, as `pipeline` has them."""
        found: list[dict[str, Any]] = (await self.door.ask("GET", "/v1/pipelines")).json()["data"]
        return found

    async def pipeline(self, name: str) -> dict[str, Any]:
        """Its description, with the `figures` of the gateway that answers."""
        return (await self.door.ask("GET", path_of(name))).json()

    async def apply(self, pipeline: Pipeline | Mapping[str, Any]) -> dict[str, Any]:
        """Puts a pipeline there, new or changed."""
        value: dict[str, Any] = msgspec.to_builtins(pipeline, str_keys=True)
        return (await self.door.ask("PUT", path_of(value["name"]), msgspec.json.encode(value))).json()

    async def delete(self, name: str) -> None:
        """Takes a pipeline away; requests that are in it are carried on."""
        await self.door.ask("DELETE", path_of(name))

    async def request(
        self,
        name: str,
        input: Any,
        *,
        wait: float | None = None,
        slo_seconds: float | None = None,
        user: str = "",
        key: str | None = None,
    ) -> dict[str, Any]:
        """The task that the request is: once it has ended, or after `wait` seconds, at most an hour; without
        `wait` at once.

        `input`: any JSON, `${{ input }}` in the stages' bodies. `slo_seconds`: in place of the pipeline's. `key`: the
        same key again is the same request; else one of its own. One that has no hope ends as `expired`, at once.
        """
        body = request_body(input, slo_seconds, user)
        headers = {"Idempotency-Key": key or uuid.uuid4().hex} | ({} if wait is None else waiting(wait))
        silence = SILENCE_SECONDS + (wait or 0.0)
        answer = await self.door.ask("POST", path_of(name) + "/requests", body, headers, silence=silence)
        return answer.json()


def path_of(name: str) -> str:
    """Of a pipeline at its gateway."""
    return f"/v1/pipelines/{quote(name, safe='')}"


def request_body(input: Any, slo_seconds: float | None, user: str = "") -> bytes:
    """What a request posts."""
    fields = (
        {"input": input} | ({"slo_seconds": slo_seconds} if slo_seconds else {}) | ({"user": user} if user else {})
    )
    return msgspec.json.encode(fields)


def waiting(seconds: float) -> dict[str, str]:
    """The header that asks for the answer once the task has ended (RFC 7240, section 4.3: whole seconds)."""
    return {"Prefer": f"wait={min(math.ceil(seconds), LONGEST_WAIT)}"}
