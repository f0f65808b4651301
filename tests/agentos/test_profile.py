"""`agentos profile`: what batches take, on real backends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from agentos.profile import distinct, profile_of, row
from agentos.yaml_files import value_of
from tests.double.server import Provider
from tests.fixtures.fleet import ROOT

PATIENCE = 60.0
STAGED = {"NODE_TYPE": "mock", "AGENTOS_MOCK_BATCH_SECONDS": "1:0.05,4:0.11"}


async def start(environment: dict[str, str], *arguments: str) -> asyncio.subprocess.Process:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "agentos",
        "profile",
        *arguments,
        cwd=ROOT,
        env={**kept, "MODEL_NAME": "m"} | environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


def parse(text: str) -> dict[int, float]:
    """The profile in YAML."""
    profile: dict[int, float] = value_of(text, Path("-"))["profile"]
    return profile


async def profile(environment: dict[str, str], *arguments: str, code: int = 0) -> tuple[str, str]:
    process = await start(environment, *arguments)
    async with asyncio.timeout(PATIENCE):
        out, err = await process.communicate()
    assert process.returncode == code, err.decode()
    return out.decode(), err.decode()


async def test_the_table_is_that_of_the_backend_and_fits_a_stage(tmp_path: Path) -> None:
    file = tmp_path / "profile.yaml"
    out, _ = await profile(STAGED, "--sizes", "4,1,2", "--rounds", "3", "--out", str(file))
    written = file.read_text()
    assert out.endswith("\n\n" + written)
    found = parse(written)
    assert list(found) == [1, 2, 4]
    for size, seconds in {1: 0.05, 2: 0.07, 4: 0.11}.items():
        assert seconds <= found[size] < seconds + 5  # this machine may stand still for a while


async def test_json_is_for_programs() -> None:
    out, _ = await profile(STAGED, "--sizes", "1,2", "--rounds", "2", "--json")
    told: dict[str, Any] = json.loads(out)
    assert told["model"] == "m"
    assert [(each["size"], each["rounds"]) for each in told["sizes"]] == [(1, 2), (2, 2)]
    assert all(each["p50"] <= each["p95"] <= each["most"] for each in told["sizes"])
    assert told["profile"].keys() == {"1", "2"}


async def test_ctrl_c_tells_what_was_measured(provider: Provider) -> None:
    remote = {"NODE_TYPE": "remote", "API_URL": provider.url, "API_KEY": "key"}
    process = await start(remote, "--sizes", "1,2", "--rounds", "1000000")
    async with asyncio.timeout(PATIENCE):
        await provider.call(3)
        process.send_signal(signal.SIGINT)
        out, _ = await process.communicate()
    assert process.returncode == 130
    assert parse(out.decode().partition("\n\n")[2]).keys() == {1}


async def test_embeddings_of_a_provider_are_one_call_a_batch(provider: Provider, tmp_path: Path) -> None:
    body = tmp_path / "body.json"
    body.write_text('{"input": "some text"}')
    remote = {"NODE_TYPE": "remote", "API_URL": provider.url, "API_KEY": "key"}
    await profile(remote, "--sizes", "1,8", "--rounds", "2", "--body", str(body))
    texts = [call.body["input"] for call in provider.calls]
    assert [len(each) if isinstance(each, list) else 1 for each in texts] == [1, 1, 1, 8, 8, 8]
    flat = [text for each in texts for text in (each if isinstance(each, list) else [each])]
    assert len(set(flat)) == len(flat) == 27
    assert all(call.body["model"] == "m" for call in provider.calls)


async def test_a_failure_is_told_by_name(provider: Provider) -> None:
    provider.key = "another"
    remote = {"NODE_TYPE": "remote", "API_URL": provider.url, "API_KEY": "wrong"}
    _, err = await profile(remote, "--sizes", "1", "--rounds", "1", code=1)
    assert "upstream_authentication_failed" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--sizes", "0,1"), "--sizes"),
        (("--sizes", "few"), "--sizes"),
        (("--body", "/no/such/file"), "/no/such/file: "),
    ],
)
async def test_what_is_wrong_is_told(arguments: tuple[str, ...], words: str) -> None:
    _, err = await profile(STAGED, *arguments, code=2)
    assert words in err


async def test_sizes_that_a_worker_does_not_serve_at_once_are_left_out() -> None:
    out, err = await profile(STAGED | {"MAX_PROCESS_NUM": "4"}, "--sizes", "1,8", "--rounds", "1", "--json")
    assert [each["size"] for each in json.loads(out)["sizes"]] == [1]
    assert "MAX_PROCESS_NUM" in err


@pytest.mark.llama
async def test_chats_fill_the_slots_of_a_local_model(tiny_model: Path) -> None:
    local = {"NODE_TYPE": "local", "AGENTOS_MODEL_FILE": str(tiny_model)}
    out, _ = await profile(local, "--sizes", "1,2", "--rounds", "2", "--json")
    assert [(each["size"], each["rounds"]) for each in json.loads(out)["sizes"]] == [(1, 2), (2, 2)]


@pytest.mark.parametrize(
    ("body", "marked"),
    [
        ({"input": "a"}, {"input": "[7] a"}),
        ({"input": ["a", "b"]}, {"input": ["[7] a", "b"]}),
        ({"prompt": [1, 2]}, {"prompt": [1, 2]}),
        ({"messages": [{"role": "user", "content": "a"}]}, {"messages": [{"role": "user", "content": "[7] a"}]}),
        ({"messages": [{"role": "user", "content": None}]}, {"messages": [{"role": "user", "content": None}]}),
    ],
)
def test_no_two_prompts_begin_alike(body: dict[str, Any], marked: dict[str, Any]) -> None:
    assert distinct(body, 7) == marked


def test_the_median_stands_for_a_size() -> None:
    rows = [row(1, [0.3, 0.1, 9.0]), row(2, [0.00001])]
    assert rows[0] == (1, 3, 0.3, 9.0, 9.0)
    assert profile_of(rows) == {1: 0.3, 2: 0.0001}
