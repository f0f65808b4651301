"""A Pod as the API server gives it, as far as the agent knows it. Names as in the API, in Python's spelling."""

from __future__ import annotations

from typing import Any

import msgspec

Object = dict[str, Any]


class Part(msgspec.Struct, rename="camel", kw_only=True):
    """A piece of a Pod. What is not named here is not read."""


class KeyRef(Part):
    name: str = ""
    key: str = ""
    optional: bool = False


class FieldRef(Part):
    field_path: str


class ValueFrom(Part):
    secret_key_ref: KeyRef | None = None
    config_map_key_ref: KeyRef | None = None
    field_ref: FieldRef | None = None


class EnvVar(Part):
    name: str
    value: str = ""
    value_from: ValueFrom | None = None


class EnvFrom(Part):
    prefix: str = ""
    secret_ref: KeyRef | None = None
    config_map_ref: KeyRef | None = None


class Port(Part):
    container_port: int
    name: str = ""


class Header(Part):
    name: str
    value: str


class HttpGet(Part):
    port: int | str
    path: str = "/"
    host: str = ""
    scheme: str = "HTTP"
    http_headers: list[Header] = []


class Exec(Part):
    command: list[str] = []


class TcpSocket(Part):
    port: int | str
    host: str = ""


class Sleep(Part):
    seconds: float


class Action(Part):
    """What a probe or a hook does: one of these."""

    http_get: HttpGet | None = None
    exec: Exec | None = None
    tcp_socket: TcpSocket | None = None
    sleep: Sleep | None = None

    @property
    def known(self) -> bool:
        """Whether it is one of those that are read here."""
        return any(each is not None for each in (self.http_get, self.exec, self.tcp_socket, self.sleep))


class Probe(Action):
    initial_delay_seconds: float = 0
    period_seconds: float = 10
    timeout_seconds: float = 1
    success_threshold: int = 1
    failure_threshold: int = 3
    termination_grace_period_seconds: float | None = None


class Lifecycle(Part):
    pre_stop: Action | None = None
    post_start: Action | None = None


class Mount(Part):
    name: str
    mount_path: str
    sub_path: str = ""


class Container(Part):
    name: str
    image: str = ""
    command: list[str] = []
    args: list[str] = []
    working_dir: str = ""
    env: list[EnvVar] = []
    env_from: list[EnvFrom] = []
    ports: list[Port] = []
    volume_mounts: list[Mount] = []
    lifecycle: Lifecycle = msgspec.field(default_factory=lambda: Lifecycle())
    startup_probe: Probe | None = None
    readiness_probe: Probe | None = None
    liveness_probe: Probe | None = None
    restart_policy: str = ""


class Item(Part):
    key: str
    path: str


class Files(Part):
    """A Secret's or a ConfigMap's keys as files."""

    name: str = ""
    secret_name: str = ""
    items: list[Item] | None = None
    optional: bool = False


class TokenFile(Part):
    path: str
    audience: str = ""
    expiration_seconds: int = 3600


class FieldFile(Part):
    path: str
    field_ref: FieldRef


class FieldFiles(Part):
    items: list[FieldFile] = []


class Source(Part):
    secret: Files | None = None
    config_map: Files | None = None
    service_account_token: TokenFile | None = None
    downward_api: FieldFiles | None = msgspec.field(name="downwardAPI", default=None)


class Projected(Part):
    sources: list[Source] = []


class Volume(Source, kw_only=True):
    name: str
    empty_dir: Object | None = None
    projected: Projected | None = None


class Spec(Part):
    containers: list[Container]
    init_containers: list[Container] = []
    volumes: list[Volume] = []
    restart_policy: str = "Always"
    service_account_name: str = "default"
    node_name: str = ""
    termination_grace_period_seconds: float = 30
    enable_service_links: bool = True


class Meta(Part):
    name: str
    namespace: str
    uid: str
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    deletion_timestamp: str | None = None
    deletion_grace_period_seconds: float = 0


class Condition(Part):
    type: str
    status: str


class Status(Part):
    phase: str = "Pending"
    conditions: list[Condition] = []


class Pod(Part):
    metadata: Meta
    spec: Spec
    status: Status = msgspec.field(default_factory=lambda: Status())

    @property
    def path(self) -> str:
        return f"/api/v1/namespaces/{self.metadata.namespace}/pods/{self.metadata.name}"

    @property
    def done(self) -> bool:
        return self.status.phase in ("Succeeded", "Failed")


def pod(found: Object) -> Pod:
    return msgspec.convert(found, Pod)
