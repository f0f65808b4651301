"""An AIModel, typed at this border. Pure.

docs/aimodel.md describes the fields; deploy/base/crd.yaml has the same rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, field
from pydantic import SecretStr

from core.errors import BadMessage
from policy.scaling import Scaling

# Of a label's value: the AIModel's name is one.
LONGEST_NAME = 63
# Variables that the operator gives every worker, and `env` may not change.
RESERVED = frozenset(
    {
        *("PULSAR_URL", "PULSAR_TOKEN", "PULSAR_ADMIN_URL", "AGENTOS_BUS_URL", "RES_TOPIC_NAME"),
        *("NODE_TYPE", "MODEL_NAME", "API_URL", "API_KEY", "MAX_PROCESS_NUM", "PORT"),
        *("AIMODEL_NAME", "AIMODEL_NAMESPACE", "AGENTOS_NODE_NAME", "AGENTOS_HOST", "AGENTOS_HOME"),
        *("AGENTOS_GRACE_SECONDS", "AGENTOS_CALL_TIMEOUT_SECONDS"),
    }
)

Key = tuple[str, str]  # namespace, name

_Text = Annotated[str, Meta(min_length=1)]
_Count = Annotated[int, Meta(ge=0)]
_Some = Annotated[int, Meta(ge=1)]
_Seconds = Annotated[float, Meta(ge=0)]
_Read = TypeVar("_Read")


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
    metadata = body["metadata"]
    spec = _without_nulls(body.get("spec"), "spec")
    scaling = spec.pop("scaling", None)
    known = {"key": named(body), "uid": metadata["uid"], "generation": metadata["generation"]}
    model = _converted(spec | known, AIModel, "spec")
    _check(model)
    if scaling is not None:
        model = msgspec.structs.replace(model, scaling=_scaling(scaling, model.slots))
    return model


_DEFAULT = Scaling(target=1)


class _Scaling(Scaling, frozen=True, kw_only=True, rename="camel"):
    """As an AIModel has it."""

    target: _Some
    min: _Count = _DEFAULT.min
    max: _Some = _DEFAULT.max
    down_seconds: _Seconds = _DEFAULT.down_seconds
    idle_seconds: _Seconds = _DEFAULT.idle_seconds


def _scaling(fields: Any, slots: int) -> Scaling:
    read = _converted({"target": slots} | _without_nulls(fields, "spec.scaling"), _Scaling, "spec.scaling")
    if read.max < read.min:
        raise WrongAIModel("spec.scaling.max: must not be less than min")
    return Scaling(**msgspec.structs.asdict(read))


def _without_nulls(fields: Any, place: str) -> dict[str, Any]:
    if not isinstance(fields, Mapping):
        raise WrongAIModel(f"{place}: must be an object")
    return {name: value for name, value in fields.items() if value is not None}


def _converted(values: Mapping[str, Any], to: type[_Read], place: str) -> _Read:
    try:
        return msgspec.convert(values, to, dec_hook=_secret)
    except msgspec.ValidationError as error:  # its text names types and bounds, no values
        message, _, path = str(error).partition(" - at `$")
        raise WrongAIModel(f"{place}{path.rstrip('`')}: {message[0].lower()}{message[1:]}") from None


def _secret(to: type, value: Any) -> Any:
    if to is SecretStr and isinstance(value, str):
        return SecretStr(value)
    raise TypeError("Expected `str`")  # msgspec adds the place


def _check(model: AIModel) -> None:
    """What goes beyond one field. Raises `WrongAIModel`."""
    if len(model.name) > LONGEST_NAME:
        raise WrongAIModel(f"metadata.name: must have at most {LONGEST_NAME} characters")
    if model.type == "remote" and not model.base_url:
        raise WrongAIModel("spec.baseURL: is missing; type remote needs the address of an OpenAI-compatible API")
    if model.api_key.get_secret_value() and model.api_key_secret_ref:
        raise WrongAIModel("spec: set one of apiKey and apiKeySecretRef, not both; apiKeySecretRef is the better")
    for each in model.env:
        if not isinstance(each.get("name"), str):
            raise WrongAIModel("spec.env: each variable needs a name")
        if each["name"] in RESERVED:
            raise WrongAIModel(f"spec.env: the operator sets {each['name']} itself")
