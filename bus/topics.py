"""Names of topics, subscriptions and channels (contracts that programs outside rely on)."""

from __future__ import annotations

from urllib.parse import quote

RESULT_TOPIC = "res-topic"
FOLD_SUBSCRIPTION = "agentos-fold"
# Workers tell who they are on this channel; gateways ask on it.
WORKERS_CHANNEL = "agentos-workers"
# Coordinators tell the load of pipelines here, and the planner how many workers each stage is to have.
SCALING_CHANNEL = "agentos-scaling"


def model_topic(model: str) -> str:
    """The topic of a model's requests. Characters that a topic's name cannot hold are percent-encoded."""
    return "model-" + quote(model, safe="")


def model_subscription(model: str) -> str:
    """The one Shared subscription of a model's workers."""
    return model_topic(model) + "-subscription"


def control_channel(model: str) -> str:
    """Where a model's workers hear of cancellations."""
    return model_topic(model) + "-control"


def reply_channel(gateway_id: str) -> str:
    """Where one gateway hears answers."""
    return "agentos-reply-" + gateway_id
