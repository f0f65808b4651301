"""The examples do what they say."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from examples.agents.calculator import calculate
from examples.agents.codegen import TASKS, Shape, chosen, codegen
from examples.agents.map_reduce import split
from examples.agents.tool_loop import answer_of, use_tool
from tests.fixtures.fleet import Fleet

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
SAYS = "This is a fixed answer from the mock backend."


async def output(example: str, *arguments: str) -> str:
    return await program(str(EXAMPLES / example), *arguments)


async def program(*arguments: str) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        cwd=EXAMPLES.parent,
        env={"PYTHONPATH": str(EXAMPLES.parent)},
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        told, _ = await process.communicate()
    assert process.returncode == 0
    return told.decode()


async def test_the_official_client_is_answered_plain_and_streamed(own_fleet: Fleet) -> None:
    gateway, worker = own_fleet.coordinator(), own_fleet.worker()
    await own_fleet.start(gateway, worker)
    told = await output("chat.py", f"{gateway.url}/v1", own_fleet.model)
    assert told.count(SAYS) == 2
    assert told.count("tokens:") == 2


@pytest.mark.parametrize("own_fleet", [pytest.param("pulsar", marks=pytest.mark.pulsar)], indirect=True)
async def test_a_program_that_publishes_itself_is_answered_at_its_endpoint(
    own_fleet: Fleet, pulsar_address: dict[str, str]
) -> None:
    worker = own_fleet.worker()
    await own_fleet.start(worker)
    assert SAYS in await output("direct.py", pulsar_address["pulsar_url"], own_fleet.model)


async def agent(name: str, fleet: Fleet, *arguments: str) -> str:
    """What an agent prints."""
    return await program("-m", f"examples.agents.{name}", "--url", fleet.url, "--model", fleet.model, *arguments)


def test_the_five_tasks_have_their_calls() -> None:
    assert [task.shape.calls for task in TASKS] == [30, 18, 12, 21, 24]
    assert [len(codegen(*task, "mock").nodes) for task in TASKS] == [30, 18, 12, 21, 24]


def test_a_round_sees_the_samples_and_votes_of_the_round_before() -> None:
    by_id = {node["id"]: node for node in codegen("Sort.", Shape(2, 2, 1), "mock").nodes}
    (message,) = by_id["sample-1-0"]["body"]["messages"]
    assert all(f"${{{{ {each} }}}}" in message["content"] for each in ("sample-0-0", "sample-0-1", "vote-0-0"))
    (message,) = by_id["vote-0-0"]["body"]["messages"]
    assert "${{ sample-0-1 }}" in message["content"]


@pytest.mark.parametrize(
    ("votes", "best"),
    [
        (["2: fine", "1", "2"], "second"),
        (["1", "2", "I like them all"], "first"),
        (["neither", "9", ""], "first"),
        (["The best is 2."] * 3, "second"),
    ],
)
def test_the_last_votes_choose_the_answer(votes: list[str], best: str) -> None:
    samples = {"sample-0-0": "wrong", "sample-1-0": "first", "sample-1-1": "second"}
    outputs = samples | {f"vote-1-{number}": vote for number, vote in enumerate(votes)} | {"vote-0-0": "2"}
    assert chosen(outputs, Shape(2, 2, 3)) == best


def test_a_text_is_split_at_paragraphs() -> None:
    assert split("a b\n\nc\n\n\n\nd e f g\n\nh", 3) == ["a b\n\nc", "d e f g", "h"]
    assert split(" \n\n ", 3) == []


def test_the_calculator_computes() -> None:
    assert calculate(" -(17 * 23 - 4) / 3 ") == -129


@pytest.mark.parametrize(
    "wrong", ["2 ** 9", "__import__('os')", "True + 1", "1 / 0", "(", "'a' * 3", "1 +" * 90, "7j"]
)
def test_the_calculator_does_nothing_else(wrong: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        calculate(wrong)
    assert "cannot" in use_tool(f"CALCULATE {wrong}")


def test_whoever_does_not_ask_for_the_calculator_has_answered() -> None:
    assert answer_of("CALCULATE 1 + 1") is None
    assert answer_of("ANSWER 42\n") == "42"
    assert answer_of("It is 42.") == "It is 42."


async def test_agents_run_on_a_mock_model(own_fleet: Fleet, tmp_path: Path) -> None:
    await own_fleet.start(own_fleet.coordinator(), own_fleet.worker())
    text = tmp_path / "text"
    text.write_text("Once upon a time there was a graph.\n\n" * 20)
    assert "12 calls" in (told := await agent("codegen", own_fleet, "--task", "2"))
    assert SAYS in told
    assert "7 parts" in (told := await agent("map_reduce", own_fleet, str(text), "--words", "24"))
    assert SAYS in told
    told = await agent("service", own_fleet, "--rate", "20", "--count", "5", "--mock-seconds", "0.01")
    assert [line.split(":")[0] for line in told.splitlines()] == [
        *(f"task {kind}, {task.shape.calls} calls" for kind, task in enumerate(TASKS)),
        "all 5",
    ]


async def test_an_agent_takes_its_steps_by_what_it_has_seen_and_goes_on_where_it_was(own_fleet: Fleet) -> None:
    await own_fleet.start(own_fleet.coordinator(), own_fleet.worker())
    told = await agent("tool_loop", own_fleet, "--rehearse")
    task, *steps, answer = told.splitlines()
    assert steps == ["step-0: CALCULATE 17 * 23", "step-1: CALCULATE 391 - 4", "step-2: ANSWER 387"]
    assert answer == "387"
    again = await agent("tool_loop", own_fleet, "--rehearse", "--resume", task)
    assert again == told
    assert [row["count"] for row in await own_fleet.rows("select count(*) from ledger")] == [3]
