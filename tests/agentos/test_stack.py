"""The processes of a pipeline's stages, and their settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentos import stack
from agentos.processes import RUN_VARIABLE, Run
from agentos.site import read_pipelines
from agentos.up_settings import UpSettings, pipeline_files
from core.errors import ConfigurationError
from policy.slo.pipeline import Pipeline, Stage, Workers, checked

ADDRESSES = stack.Addresses("postgresql://store", bus="postgresql://store", worker_bus="postgresql://bus-only")
RUN = Run(1, "2", "ab")
MOCK = {"NODE_TYPE": "mock", "AGENTOS_MOCK_TEXT": "Well.", "CUDA_VISIBLE_DEVICES": "1"}


def pipeline(**run: str) -> Pipeline:
    stages = [
        Stage(id="a", model="org/a", profile={1: 0.1}, run=run),
        Stage(id="b", model="b", profile={1: 0.1}, run=run, workers=Workers(least=0)),
    ]
    return checked(Pipeline(name="p", slo_seconds=1.0, stages=stages))


def test_a_stage_is_served_with_its_own_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTOS_MOCK_TEXT", "Something else.")
    monkeypatch.setenv("MODEL_NAME", "another")
    monkeypatch.setenv("AGENTOS_PIPELINES", "p.yaml")
    (first, spec), _ = stack.stage_workers(pipeline(**MOCK), UpSettings(), ADDRESSES, RUN)
    assert (first.id, spec.name) == ("a", "worker-p-a")
    found = spec.environment
    assert (found["MODEL_NAME"], found["AGENTOS_MOCK_TEXT"], found["CUDA_VISIBLE_DEVICES"]) == ("org/a", "Well.", "1")
    assert (found["AGENTOS_BUS_URL"], found["PORT"], found[RUN_VARIABLE]) == ("postgresql://bus-only", "0", str(RUN))
    assert "AGENTOS_PIPELINES" not in found


def test_a_wrong_setting_is_told_with_its_stage() -> None:
    with pytest.raises(ConfigurationError, match="pipeline p, run of stage a: NODE_TYPE: Input should be"):
        stack.stage_workers(pipeline(NODE_TYPE="mok"), UpSettings(), ADDRESSES, RUN)


def test_the_stages_that_always_have_workers_are_served_from_the_start() -> None:
    assert stack.models(UpSettings(local=False), [pipeline()]) == ["mock", "org/a"]


def test_two_pipelines_of_one_name_are_refused(tmp_path: Path) -> None:
    text = "{name: p, slo_seconds: 1, stages: [{id: a, model: m, profile: {1: 0.1}}]}"
    files = [tmp_path / "one.yaml", tmp_path / "two.yaml"]
    for file in files:
        file.write_text(text)
    settings = UpSettings(pipelines=f"{files[0]}, {files[1]},")
    assert pipeline_files(settings) == files
    assert [each.name for each in read_pipelines(files[:1])] == ["p"]
    with pytest.raises(ConfigurationError, match=r"two\.yaml: another file has a pipeline of the name p"):
        read_pipelines(files)
