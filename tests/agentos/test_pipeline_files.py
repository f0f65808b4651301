from __future__ import annotations

import re
from pathlib import Path

import pytest

from agentos.pipeline_files import read_pipeline
from core.errors import ConfigurationError

CHAIN = """\
name: shop
slo_seconds: 2
stages:
  - id: rank
    model: ranker
    after: [embed]
    profile: {1: 0.1, 4: 0.2}
  - id: embed
    model: embedder
    profile:
      1: 0.05
    run: {NODE_TYPE: mock}
"""
ROOT = Path(__file__).parents[2]
BODY = "/stages/1/body/messages/0/content"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "pipeline.yaml"


def test_a_pipeline_is_read_with_its_stages_in_order(file: Path) -> None:
    file.write_text(CHAIN)
    pipeline = read_pipeline(file)
    assert [stage.id for stage in pipeline.stages] == ["embed", "rank"]
    assert pipeline.stages[1].profile == {1: 0.1, 4: 0.2}
    assert (pipeline.policy, pipeline.slo_seconds) == ("agentos", 2.0)


@pytest.mark.parametrize(
    ("right", "wrong", "line", "pointer"),
    [
        ("slo_seconds: 2", "slo_seconds: soon", 2, "/slo_seconds"),
        ("slo_seconds: 2\n", "", 1, "/slo_seconds"),
        ("name: shop\n", "", 1, "/name"),
        ("name: shop", "name: 5", 1, "/name"),
        ("model: embedder", "modell: embedder", 9, "/stages/1/modell"),
        ("model: embedder", "model: ranker", 9, "/stages/1/model"),
        ("after: [embed]", "after: [embed, other]", 6, "/stages/0/after/1"),
        ("{1: 0.1, 4: 0.2}", "{1: 0.1, 4: -1}", 7, "/stages/0/profile"),
        ("      1: 0.05", "      one: 0.05", 10, "/stages/1/profile"),
        ("    run: ", "    workers: {least: 9, most: 3}\n    run: ", 12, "/stages/1/workers"),
        ("    run: ", '    body: {messages: [{role: user, content: "${{ nobody }}"}]}\n    run: ', 12, BODY),
        ("{NODE_TYPE: mock}", "{NODE_TYPE: 5}", 12, "/stages/1/run"),
    ],
)
def test_what_is_wrong_is_told_with_its_line_and_its_place(
    file: Path, right: str, wrong: str, line: int, pointer: str
) -> None:
    assert CHAIN.count(right) == 1
    file.write_text(CHAIN.replace(right, wrong))
    with pytest.raises(ConfigurationError) as raised:
        read_pipeline(file)
    assert str(raised.value).startswith(f"{file}: line {line}: {pointer}: ")


@pytest.mark.parametrize("text", ["", "[]", "stages: [", "? [1]\n: 2", "a: &a [*a]", "a: &a\n  b: *a", "\x00"])
def test_what_is_no_pipeline_at_all_is_named(file: Path, text: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=r"pipeline\.yaml: "):
        read_pipeline(file)


def test_the_example_in_the_docs_is_right(file: Path) -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "pipelines.md").read_text(), re.DOTALL)
    file.write_text(example)
    assert [stage.after for stage in read_pipeline(file).stages] == [[], ["detect"]]


def test_a_file_that_is_not_there_is_named(file: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"pipeline\.yaml"):
        read_pipeline(file)
