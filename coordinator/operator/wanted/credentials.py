"""What of an AIModel's workers is secret: kept in one Secret, read from there by the Pods. Pure."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

from coordinator.operator.wanted.aimodel import AIModel
from coordinator.operator.wanted.names import credentials_name, metadata
from coordinator.operator.wanted.site import Site
from core.aimodels import GROUP

API_KEY, PULSAR_TOKEN, BUS_URL = "API_KEY", "PULSAR_TOKEN", "AGENTOS_BUS_URL"
# Of the Pods: they are made anew when the credentials change.
CHECKSUM = f"{GROUP}/credentials"


def secret(model: AIModel, site: Site) -> dict[str, Any]:
    """The Secret; what is not there has no key in it."""
    # `data`, as server-side apply does not see what is taken out of `stringData`.
    data = {name: base64.b64encode(value.encode()).decode() for name, value in _values(model, site).items()}
    meta = metadata(model, credentials_name(model.name))
    return {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "type": "Opaque", "data": data}


def checksum(model: AIModel, site: Site) -> str:
    """Another one for other credentials. The same key has another one at each AIModel."""
    text = json.dumps(_values(model, site), sort_keys=True)
    return hmac.new(model.uid.encode(), text.encode(), hashlib.sha256).hexdigest()


def from_secret(model: AIModel, variable: str) -> dict[str, Any]:
    """The variable of a container; it is not set where its key is missing."""
    ref = {"name": credentials_name(model.name), "key": variable, "optional": True}
    return {"name": variable, "valueFrom": {"secretKeyRef": ref}}


def _values(model: AIModel, site: Site) -> dict[str, str]:
    values = {API_KEY: model.api_key, PULSAR_TOKEN: site.pulsar_token, BUS_URL: site.bus_url}
    return {name: text for name, value in values.items() if (text := value.get_secret_value())}
