"""What an agent is started with: a JSON file."""

from __future__ import annotations

from pathlib import Path

import msgspec

# What may be asked for; nothing is reserved by it.
CAPACITY = {"cpu": "64", "memory": "64Gi", "ephemeral-storage": "64Gi", "pods": "500"}


class Image(msgspec.Struct, frozen=True):
    """What stands for a container image.

    `entrypoint` and `arguments` are as Dockerfile's ENTRYPOINT and CMD; `environment` as its ENV: a Pod's own wins.
    `override` wins over the Pod's own: what a process must be told because it is not alone in its network and its
    files. `directory`: where it runs; the Pod's own directory if empty. In the values of the last two, and of
    `environment`, stand $(POD_IP), $(POD_DIRECTORY) and $(POD_KUBECONFIG).
    """

    entrypoint: list[str] = []
    arguments: list[str] = []
    environment: dict[str, str] = {}
    override: dict[str, str] = {}
    directory: str = ""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """`first_address`: the first Pod's, in 127.0.0.0/8; the next ones count on from it. Times in seconds."""

    server: str
    ca: str
    token: str
    node: str
    directory: str
    images: dict[str, Image]
    first_address: str
    capacity: dict[str, str] = msgspec.field(default_factory=lambda: dict(CAPACITY))
    labels: dict[str, str] = {}
    unschedulable: bool = False
    beat_seconds: float = 2.0
    back_off_seconds: float = 1.0
    back_off_most_seconds: float = 8.0

    def image(self, reference: str) -> Image | None:
        """By the whole reference, or without digest and tag, or without the registry's part too."""
        name = reference.partition("@")[0]
        head, slash, last = name.rpartition("/")
        last = last.partition(":")[0]
        known = (self.images.get(each) for each in (reference, head + slash + last, last))
        return next((image for image in known if image is not None), None)


def read(file: Path) -> Settings:
    return msgspec.json.decode(file.read_bytes(), type=Settings)
