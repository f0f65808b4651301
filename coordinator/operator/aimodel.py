"""An AIModel, typed at this border. Pure.

The fields are described in docs/aimodel.md; deploy/base/crd.yaml has the same rules, as far as a schema can tell them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, field
from pydantic import SecretStr

from core.errors import BadMessage
from policy.scaling import Scaling

GROUP = "model.youxam.com"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "AIModel"
PLURAL = "aimodels"
# Of a label's value: the AIModel's name is one.
LONGEST_NAME = 63
# Variables that the operator gives every worker, and `env` may not change.
RESERVED = frozenset(
    """PULSAR_URL PULSAR_TOKEN PULSAR_ADMIN_URL RES_TOPIC_NAME NODE_TYPE MODEL_NAME API_URL API_KEY MAX_PROCESS_NUM
    AIMODEL_NAME AIMODEL_NAMESPACE PORT AGENTOS_BUS_URL AGENTOS_NODE_NAME AGENTOS_HOST AGENTOS_HOME
    AGENTOS_GRACE_SECONDS AGENTOS_CALL_TIMEOUT_SECONDS""".split()
)

Key = tuple[str, str]  # namespace, name

_Text = Annotated[str, Meta(min_length=1)]
_Count = Annotated[int, Meta(ge=0)]
_Some = Annotated[int, Meta(ge=1)]


class WrongAIModel(BadMessage):
    """An AIModel cannot be worked with. The message: where, and what would be right."""


class SecretKey(msgspec.Struct, frozen=True):
    """One value of a Secret in the AIModel's namespace."""

    name: _Text
    key: _Text = "apiKey"


class AIModel(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One AIModel. `slots`: requests that one worker has at once (`maxProcessNum`). `uid`, `generation`: as
    Kubernetes has given them. Empty texts are missing ones.
    """

    key: Key
    uid: str
    generation: int
    type: Literal["local", "remote"]
    model: _Text
    image: str = ""
    replicas: _Count = 1
    base_url: str = field(name="baseURL", default="")
    api_key: SecretStr = SecretStr("")
    api_key_secret_ref: SecretKey | None = None
    slots: _Some = field(name="maxProcessNum", default=128)
    backlog_threshold: _Some | None = field(name="msgBacklogThreshold", default=None)
    scaling: Scaling | None = None
    call_timeout_seconds: _Some = 600
    resources: dict[str, Any] = {}
    env: list[dict[str, Any]] = []
    node_selector: dict[str, str] = {}
    tolerations: list[dict[str, Any]] = []
    image_pull_secrets: list[dict[str, Any]] = []

    @property
    def namespace(self) -> str:
        return self.key[0]

    @property
    def name(self) -> str:
        return self.key[1]


def named(body: Mapping[str, Any]) -> Key:
    """Namespace and name of an object of Kubernetes."""
    metadata = body["metadata"]
    return metadata["namespace"], metadata["name"]


def read(body: Mapping[str, Any]) -> AIModel:
    """An AIModel as the API server tells it. Raises `WrongAIModel`."""
    raise NotImplementedError
