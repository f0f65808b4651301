"""Text completions and embeddings in task graphs; at mock workers and at real local models. On both brokers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest
import pytest_asyncio

from agentos.parts.tiny_model import WIDTH
from tests.double.answers import SAY
from tests.double.server import Provider
from tests.double.texts import vector
from tests.fixtures.fleet import Fleet, Site
from workernode.backends import mock_answers
from workload.client import Client
from workload.errors import GatewayRefused, TaskFailed
from workload.graph import Graph

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("e2e-text-nodes")]

LONG: dict[str, Any] = {"max_tokens": 20, "temperature": 0, "extra_body": {"ignore_eos": True}}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(
    site: Site, module_provider: Provider, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Fleet]:
    directory: Path = tmp_path_factory.mktemp("fleet")
    with Fleet(site, directory) as fleet:
        await fleet.start(fleet.coordinator(), fleet.worker(API_URL=module_provider.url, API_KEY="sk-test"))
        yield fleet


async def test_a_graph_goes_from_texts_to_vectors_to_a_chat(fleet: Fleet, upstream: Provider) -> None:
    graph = Graph()
    parts = graph.node("parts", model=fleet.model, prompt=SAY + '["a b", "c"]')
    graph.node("vectors", model=fleet.model, input=parts.json("$"))
    one = graph.node("one", model=fleet.model, input=f"{parts}")
    graph.node("told", model=fleet.model, prompt=f"{SAY}{one} {one.response('$.usage.total_tokens')}")
    async with Client(fleet.url) as client:
        task = await client.submit(graph)
        outputs = await task.result("vectors", "one", "told")
    whole = vector('["a b", "c"]')
    assert outputs["told"] == f"{outputs['one']} 3"
    assert [float(each) for each in outputs["one"].strip("[]").split(",")] == whole
    assert outputs["vectors"].count("[") == 3
    paths = sorted(call.path for call in upstream.calls)
    assert paths == ["/v1/chat/completions"] * 2 + ["/v1/embeddings"] * 2


async def test_a_graph_may_complete_texts(fleet: Fleet, upstream: Provider) -> None:
    nodes = [
        {"id": "a", "model": fleet.model, "body": {"prompt": SAY + "one"}},
        {"id": "b", "model": fleet.model, "body": {"prompt": ["Say: ${{ a }} and two"]}},
    ]
    async with Client(fleet.url) as client:
        assert await (await client.submit({"nodes": nodes})).result("b") == {"b": "one and two"}
    assert {call.path for call in upstream.calls} == {"/v1/completions"}


async def test_a_node_whose_texts_have_a_wrong_form_is_refused_at_once_or_fails_by_name(
    fleet: Fleet, upstream: Provider
) -> None:
    async with Client(fleet.url) as client:
        with pytest.raises(GatewayRefused) as refused:
            await client.submit({"nodes": [{"id": "a", "model": fleet.model, "body": {"input": []}}]})
        assert refused.value.error["param"] == "/nodes/0/body/input"
        graph = Graph()
        wrong = graph.node("wrong", model=fleet.model, prompt=SAY + "{}")
        graph.node("vectors", model=fleet.model, input=wrong.json("$"))
        task = await client.submit(graph)
        with pytest.raises(TaskFailed):
            await task.result()
        node = await task.node("vectors")
    assert (node["error"]["code"], node["error"]["param"]) == ("reference_failed", "/input")


async def test_the_mock_answers_texts_as_well(own_fleet: Fleet) -> None:
    await own_fleet.start(own_fleet.coordinator(), own_fleet.worker(AGENTOS_MOCK_TEXT="Water boils."))
    async with own_fleet.client() as client:
        found = await client.embeddings.create(model=own_fleet.model, input=["a", "b"])
        ours = [mock_answers.vector(text, mock_answers.DIMENSIONS) for text in ("a", "b")]
        assert [each.embedding for each in found.data] == ours
        said = await client.completions.create(model=own_fleet.model, prompt=["a", "b"])
        assert [choice.text for choice in said.choices] == ["Water boils."] * 2
        stream = await client.completions.create(model=own_fleet.model, prompt="a", stream=True)
        assert [choice.text async for chunk in stream for choice in chunk.choices] == ["Water ", "boils.", ""]


@pytest.mark.llama
async def test_a_local_model_embeds_and_completes(own_fleet: Fleet, tiny_model: Path) -> None:
    worker = own_fleet.worker(
        NODE_TYPE="local", AGENTOS_MODEL_FILE=str(tiny_model), AGENTOS_MODEL_POOLING="mean", MAX_PROCESS_NUM="2"
    )
    await own_fleet.start(own_fleet.coordinator(), worker)
    async with own_fleet.client() as client:
        coded = await client.embeddings.create(model=own_fleet.model, input=["the one", "you"])
        plain = await client.embeddings.create(model=own_fleet.model, input="you", encoding_format="float")
        assert [len(each.embedding) for each in coded.data] == [WIDTH] * 2
        assert coded.data[1].embedding == pytest.approx(plain.data[0].embedding, abs=1e-3)
        whole = await client.completions.create(model=own_fleet.model, prompt="the", **LONG)
        stream = await client.completions.create(model=own_fleet.model, prompt="the", stream=True, **LONG)
        pieces = [choice.text async for chunk in stream for choice in chunk.choices]
    assert whole.usage is not None
    assert whole.usage.completion_tokens == LONG["max_tokens"]
    assert "".join(pieces) == whole.choices[0].text
    assert len(pieces) > 5


@pytest.mark.llama
async def test_a_model_that_does_not_embed_says_so(own_fleet: Fleet, tiny_model: Path) -> None:
    worker = own_fleet.worker(NODE_TYPE="local", AGENTOS_MODEL_FILE=str(tiny_model))
    await own_fleet.start(own_fleet.coordinator(), worker)
    async with own_fleet.client() as client:
        with pytest.raises(openai.APIStatusError, match="does not support embeddings"):
            await client.embeddings.create(model=own_fleet.model, input="the")
