from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workernode.limits.estimate import Estimator

TEXT = "word " * 80  # 400 bytes


def body(**more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": TEXT}], **more}


def test_a_prompt_is_reckoned_by_its_length_and_the_answer_by_its_bound() -> None:
    estimate = Estimator().estimate(body(max_tokens=50))
    assert (estimate.prompt, estimate.output, estimate.tokens) == (100, 50, 150)


def test_tools_and_tool_calls_count() -> None:
    plain = Estimator().estimate(body()).prompt
    tool = {"type": "function", "function": {"name": "f", "description": TEXT}}
    called = {"role": "assistant", "content": None, "tool_calls": [tool]}
    assert Estimator().estimate(body(tools=[tool])).prompt > plain + 100
    assert Estimator().estimate({"messages": [called]}).prompt > 100


def test_a_picture_is_not_reckoned_by_its_length() -> None:
    parts = [{"type": "text", "text": TEXT}, {"type": "image_url", "image_url": {"url": "data:" + "A" * 1_000_000}}]
    assert Estimator().estimate({"messages": [{"role": "user", "content": parts}]}).prompt == 1100


def test_each_choice_costs_an_answer() -> None:
    assert Estimator().estimate(body(max_completion_tokens=50, n=3)).output == 150


def test_a_generous_bound_is_not_believed_once_answers_are_known() -> None:
    estimator = Estimator()
    for _ in range(200):
        estimator.learn(estimator.estimate(body()), 100, 20)
    assert estimator.estimate(body(max_tokens=100_000)).output == pytest.approx(20, rel=0.1)
    assert estimator.estimate(body(max_tokens=5)).output == 5


def test_it_learns_how_the_provider_counts_prompts() -> None:
    estimator = Estimator()
    for _ in range(200):
        estimator.learn(estimator.estimate(body()), 150, 20)
    assert estimator.estimate(body()).prompt == pytest.approx(150, rel=0.05)


def test_embeddings_are_not_answered_in_tokens_and_teach_nothing_of_answers() -> None:
    estimator = Estimator()
    usual = estimator.estimate(body()).output
    for _ in range(200):
        estimate = estimator.estimate({"input": TEXT})
        assert estimate.output == 0
        estimator.learn(estimate, 150, 0)
    assert estimator.estimate({"input": TEXT}).tokens == pytest.approx(150, rel=0.05)
    assert estimator.estimate({"prompt": TEXT}).output == usual


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)
NAMES = st.sampled_from(["messages", "tools", "max_tokens", "n", "input", "prompt", "max_completion_tokens"])
MESSAGE = st.dictionaries(st.sampled_from(["role", "content", "tool_calls"]), JSON)


@settings(max_examples=50)
@given(st.dictionaries(NAMES, JSON | st.lists(MESSAGE | JSON, max_size=3)))
def test_no_body_confuses_it(odd: dict[str, Any]) -> None:
    assert Estimator().estimate(odd).tokens > 0
