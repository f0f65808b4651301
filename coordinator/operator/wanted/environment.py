"""The environment of an AIModel's workers. Pure. Their settings: docs/settings.md."""

from __future__ import annotations

from typing import Any

from coordinator.operator.wanted.aimodel import AIModel
from coordinator.operator.wanted.credentials import API_KEY, BUS_URL, PULSAR_TOKEN, from_secret
from coordinator.operator.wanted.site import Site

PROBES_PORT = 8082
# The one place where a worker can write.
STATE_DIRECTORY = "/var/lib/agentos"

Variable = dict[str, Any]


def environment(model: AIModel, site: Site) -> list[Variable]:
    """The operator's variables, then those of the AIModel, which may name the former as $(NAME)."""
    # Not of those that nobody but the operator sets.
    ours = {"TMPDIR": STATE_DIRECTORY}
    theirs = {each["name"] for each in model.env}
    return [
        *_plain(_contract(model, site)),
        from_secret(model, PULSAR_TOKEN),
        _api_key(model),
        *([from_secret(model, BUS_URL)] if site.bus_url.get_secret_value() else []),
        {"name": "AGENTOS_NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        *_plain({name: value for name, value in ours.items() if name not in theirs}),
        *model.env,
    ]


def _contract(model: AIModel, site: Site) -> dict[str, str]:
    call = str(model.call_timeout_seconds)
    return {
        "PULSAR_URL": site.pulsar_url,
        "PULSAR_ADMIN_URL": site.pulsar_admin_url,
        "RES_TOPIC_NAME": site.res_topic_name,
        "NODE_TYPE": model.type,
        "MODEL_NAME": model.model,
        "API_URL": model.base_url,
        "MAX_PROCESS_NUM": str(model.slots),
        "AIMODEL_NAME": model.name,
        "AIMODEL_NAMESPACE": model.namespace,
        "PORT": str(PROBES_PORT),
        "AGENTOS_HOST": "0.0.0.0",
        "AGENTOS_HOME": STATE_DIRECTORY,
        "AGENTOS_GRACE_SECONDS": call,
        "AGENTOS_CALL_TIMEOUT_SECONDS": call,
    }


def _plain(values: dict[str, str]) -> list[Variable]:
    # Kubernetes replaces $(NAME) in values, and $$ by $: these are meant as they are.
    return [{"name": name, "value": value.replace("$", "$$")} for name, value in values.items() if value]


def _api_key(model: AIModel) -> Variable:
    ref = model.api_key_secret_ref
    if ref is None:
        return from_secret(model, API_KEY)
    return {"name": API_KEY, "valueFrom": {"secretKeyRef": {"name": ref.name, "key": ref.key}}}
