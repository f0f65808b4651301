"""Commands of clients, as processes of their own."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any, NamedTuple

from tests.fixtures.fleet import ROOT, Fleet

SECONDS = 90


class Said(NamedTuple):
    """What a command has said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its last line."""
        return json.loads(self.out.splitlines()[-1])


async def start(fleet: Fleet, *arguments: object, err: int = asyncio.subprocess.PIPE) -> asyncio.subprocess.Process:
    """`agentos …` on this fleet; it runs on."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "agentos", *map(str, arguments)),
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "AGENTOS_URL": fleet.url, "TERM": "xterm", "COLUMNS": "120"},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=err,
    )


async def agentos(fleet: Fleet, *arguments: object, input: str = "") -> Said:
    """The same, to its end."""
    process = await start(fleet, *arguments)
    async with asyncio.timeout(SECONDS):
        out, err = await process.communicate(input.encode())
    assert process.returncode is not None
    return Said(process.returncode, out.decode(), err.decode())
