"""What all workers of a cluster have in common. Pure."""

from __future__ import annotations

import msgspec
from pydantic import SecretStr


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """The broker as Pods reach it, and the image of workers where an AIModel names none.

    `bus_url`: a Postgres bus instead of Pulsar, with its password. `keda`: whether KEDA can scale here: the cluster
    serves its API, and Pulsar's admin address is known.
    """

    worker_image: str
    pulsar_url: str = ""
    pulsar_token: SecretStr = SecretStr("")
    pulsar_admin_url: str = ""
    bus_url: SecretStr = SecretStr("")
    res_topic_name: str
    keda: bool = False
