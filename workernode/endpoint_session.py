"""The HTTP client of replies to endpoints: it connects to none that the policy refuses, whatever its name says."""

from __future__ import annotations

import socket

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from workernode.endpoint_policy import EndpointPolicy
from workernode.errors import EndpointRefused

# What of an endpoint's answer is buffered: nobody reads it.
BUFFER_BYTES = 4096


def endpoint_session(policy: EndpointPolicy) -> aiohttp.ClientSession:
    """A session of the running loop; to be closed. Its requests raise `EndpointRefused` too.

    The number of connections is bounded by the slots of the node: none waits for another's here.
    """
    connector = aiohttp.TCPConnector(limit=0, resolver=_Resolver(policy))
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        read_bufsize=BUFFER_BYTES,
        middlewares=(_Guard(policy),),
    )


class _Guard:
    """Looks at every request and response: a WebSocket's opening would follow redirects."""

    def __init__(self, policy: EndpointPolicy) -> None:
        self._policy = policy

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        if (reason := self._policy.refusal(str(request.url))) is not None:
            raise EndpointRefused(f"the endpoint {reason}")
        response = await handler(request)
        if 300 <= response.status < 400:
            response.close()
            raise EndpointRefused("the endpoint answers with a redirect")
        return response


class _Resolver(AbstractResolver):
    """Names to addresses that are connected to as they were checked: a name cannot change its mind in between."""

    def __init__(self, policy: EndpointPolicy) -> None:
        self._policy = policy
        self._names = aiohttp.DefaultResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._names.resolve(host, port, family)
        for each in found:
            if (reason := self._policy.refusal_of(host, port, each["host"])) is not None:
                raise EndpointRefused(f"the endpoint's host {reason}")
        return found

    async def close(self) -> None:
        await self._names.close()
