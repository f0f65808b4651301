"""Where a Pod lives on this machine: its address, its directories, the way to its cluster."""

from __future__ import annotations

import json
import os
from pathlib import Path
from urllib.parse import urlsplit

from tests.nodeagent.api import Api
from tests.nodeagent.settings import Settings
from tests.nodeagent.sources import Sources
from tests.nodeagent.spec import Container, Pod
from tests.nodeagent.volumes import Mounts

ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
# What every process may know of the machine.
INHERITED = ("PATH", "LANG", "TMPDIR", "JAVA_HOME")


class Place:
    """`address`: the Pod's own, on the loopback. `directory`: the Pod's own, gone with it; its logs stay."""

    def __init__(self, pod: Pod, settings: Settings, api: Api, address: str) -> None:
        self.settings = settings
        self.address = address
        self.sources = Sources(api, pod, address)
        self.directory = Path(settings.directory) / "pods" / pod.metadata.uid
        self.volumes = self.directory / "volumes"
        self._name = pod.metadata.name
        self._logs = Path(settings.directory) / "logs" / pod.metadata.namespace / pod.metadata.name

    def log(self, container: str) -> Path:
        return self._logs / f"{container}.log"

    def mounts(self, container: Container) -> Mounts:
        return Mounts(container.volume_mounts, self.volumes)

    def own(self, mounts: Mounts) -> dict[str, str]:
        """What each process is told; those that begin with POD_ only where an image's environment names them."""
        server = urlsplit(self.settings.server)
        account = mounts.path(ACCOUNT)
        return {
            **{name: os.environ[name] for name in INHERITED if name in os.environ},
            "HOME": str(self.directory),
            "HOSTNAME": self._name,
            "KUBERNETES_SERVICE_HOST": server.hostname or "",
            "KUBERNETES_SERVICE_PORT": str(server.port),
            "POD_IP": self.address,
            "POD_DIRECTORY": str(self.directory),
            "POD_KUBECONFIG": str(self._kubeconfig(account)) if account is not None else "",
        }

    def _kubeconfig(self, account: Path) -> Path:
        """For programs that look for the account where it cannot be, as it would be every Pod's: a KUBECONFIG."""
        file = self.directory / "kubeconfig"
        namespace = (account / "namespace").read_text()
        context = {"cluster": "pod", "user": "pod", "namespace": namespace}
        cluster = {"server": self.settings.server, "certificate-authority": str(account / "ca.crt")}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "pod",
            "contexts": [{"name": "pod", "context": context}],
            "clusters": [{"name": "pod", "cluster": cluster}],
            "users": [{"name": "pod", "user": {"token": (account / "token").read_text()}}],
        }
        file.touch(mode=0o600)
        file.write_text(json.dumps(config))
        return file
