"""Text completions and embeddings of a real llama.cpp."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from agentos.parts.tiny_model import WIDTH
from bus.operations import operation_of
from workernode.backends.base import Answer, Call
from workernode.backends.local import LocalBackend
from workernode.classify import Retry, Upstream
from workernode.errors import CallFailed
from workernode.modelprocess import command

pytestmark = pytest.mark.llama


class Kept(list[dict[str, Any]]):
    """A sink."""

    def chunk(self, data: bytes) -> None:
        self.append(json.loads(data))


def make_call(*, stream: bool = False, **body: Any) -> Call:
    return Call("r-1", {"model": "tiny", **body}, stream)


def make_local(file: Path, pooling: str = "") -> LocalBackend:
    return LocalBackend(file, alias="tiny", max_slots=2, idle_timeout=30, call_timeout=60, pooling=pooling)


@pytest.fixture
async def local(tiny_model: Path) -> AsyncIterator[LocalBackend]:
    backend = make_local(tiny_model, pooling="mean")
    await backend.start()
    yield backend
    await backend.close()


def vectors(answer: Answer) -> list[Any]:
    return [each["embedding"] for each in json.loads(answer.response)["data"]]


@pytest.mark.parametrize(
    ("texts", "number"), [("the one", 1), (["the one", "you"], 2), ([262, 263], 1), ([[262, 263], [264]], 2)]
)
async def test_a_local_model_embeds_where_it_is_told_how(local: LocalBackend, texts: Any, number: int) -> None:
    answer = await local.call(make_call(input=texts), None)
    found = vectors(answer)
    assert [len(each) for each in found] == [WIDTH] * number
    assert (answer.usage.prompt_tokens > 0, answer.usage.completion_tokens, answer.estimated) == (True, 0, False)
    again = vectors(await local.call(make_call(input=texts, encoding_format="base64"), None))
    decoded = [list(struct.unpack(f"<{WIDTH}f", base64.b64decode(each))) for each in again]
    assert decoded == [pytest.approx(each, abs=1e-5) for each in found]


async def test_a_long_text_is_embedded_whole(local: LocalBackend) -> None:
    answer = await local.call(make_call(input="the " * 1000), None)
    assert answer.usage.prompt_tokens > 1000


async def test_a_text_beyond_the_context_is_refused_for_good(local: LocalBackend) -> None:
    with pytest.raises(CallFailed) as failed:
        await local.call(make_call(input="the " * 5000), None)
    assert (failed.value.retry, failed.value.verdict.upstream) == (Retry.NEVER, Upstream.ANSWERED)


async def test_a_model_that_embeds_speaks_as_well(local: LocalBackend) -> None:
    chat = make_call(messages=[{"role": "user", "content": "the"}], max_tokens=3)
    text = make_call(prompt="the", max_tokens=3, ignore_eos=True, temperature=0)
    for call in (chat, text):
        answer = await local.call(call, None)
        kind = {"chat": "chat.completion", "text_completion": "text_completion"}[operation_of(call.body)]
        assert json.loads(answer.response)["object"] == kind
    sink = Kept()
    streamed = await local.call(make_call(stream=True, **text.body), sink)
    assert json.loads(streamed.response)["choices"][0]["text"] == json.loads(answer.response)["choices"][0]["text"]
    assert "".join(choice["text"] for chunk in sink for choice in chunk["choices"]) != ""
    assert (streamed.usage.completion_tokens, streamed.estimated) == (3, False)


async def test_a_model_that_was_not_told_how_refuses_by_name(tiny_model: Path) -> None:
    local = make_local(tiny_model)
    await local.start()
    with pytest.raises(CallFailed) as failed:
        await local.call(make_call(input="the"), None)
    await local.close()
    assert (failed.value.status, failed.value.retry) == (501, Retry.NEVER)


@pytest.mark.parametrize(
    ("pooling", "right"),
    [
        ("", lambda line: "--embedding" not in line),
        ("model", lambda line: "--embedding" in line and "--pooling" not in line),
        ("last", lambda line: line[-2:] == ["--pooling", "last"]),
    ],
)
def test_other_servers_are_told_in_llama_cpps_words(
    tmp_path: Path, pooling: str, right: Callable[[list[str]], bool]
) -> None:
    file = tmp_path / "server"
    file.write_bytes(b"MZqFpD")
    file.chmod(0o755)
    assert right(command(file, port=1, parallel=1, threads=1, alias="m", pooling=pooling))
