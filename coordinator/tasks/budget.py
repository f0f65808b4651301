"""Budgets: what a task may cost. Pure."""

from __future__ import annotations

from coordinator.graph.graph import Graph
from coordinator.tasks.prices import Prices


def over_budget(graph: Graph, prices: Prices) -> bool:
    """Whether a task has used what it may. A model without a price costs no money."""
    budget = graph.description.budget
    if budget is None:
        return False
    if budget.tokens is not None and graph.usage.total_tokens >= budget.tokens:
        return True
    return budget.money is not None and cost(graph, prices) >= budget.money


def cost(graph: Graph, prices: Prices) -> float:
    """US dollars, by the models' prices."""
    total = 0.0
    for model, usage in graph.usage_by_model.items():
        prompt, completion = prices.get(model, (0.0, 0.0))
        total += (usage.prompt_tokens * prompt + usage.completion_tokens * completion) / 1_000_000
    return total
