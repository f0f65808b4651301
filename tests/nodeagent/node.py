"""The Node itself: registered, alive by its Lease, and Ready."""

from __future__ import annotations

import asyncio
import logging
import platform
import time

from tests.nodeagent.api import MERGE, UNREACHABLE, Api, Refused
from tests.nodeagent.settings import Settings
from tests.nodeagent.spec import Object
from tests.nodeagent.status import micro_stamp, stamp

log = logging.getLogger(__name__)

LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"


async def live(api: Api, settings: Settings) -> None:
    """Registers it, and keeps it alive until cancelled."""
    began = time.time()
    while True:
        try:
            await _beat(api, settings, began)
        except (*UNREACHABLE, Refused) as error:
            log.warning("the Node is not renewed: %s", error or type(error).__name__)
        await asyncio.sleep(settings.beat_seconds)


async def _beat(api: Api, settings: Settings, began: float) -> None:
    await _made_if_missing(api, "/api/v1/nodes", _node(settings), {"status": _status(settings, began)}, "/status")
    spec = {"holderIdentity": settings.node, "leaseDurationSeconds": 40, "renewTime": micro_stamp(time.time())}
    await _made_if_missing(api, LEASES, {"metadata": {"name": settings.node}, "spec": spec}, {"spec": spec})


async def _made_if_missing(api: Api, path: str, made: Object, patch: Object, part: str = "") -> None:
    name = made["metadata"]["name"]
    try:
        await api.ask("PATCH", f"{path}/{name}{part}", patch, MERGE)
    except Refused as error:
        if error.status != 404:
            raise
        await api.ask("POST", path, made)
        await api.ask("PATCH", f"{path}/{name}{part}", patch, MERGE)


def _node(settings: Settings) -> Object:
    system = {"kubernetes.io/hostname": settings.node, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
    meta = {"name": settings.node, "labels": system | settings.labels}
    return {"metadata": meta, "spec": {"unschedulable": settings.unschedulable}}


def _status(settings: Settings, began: float) -> Object:
    ready = {
        "type": "Ready",
        "status": "True",
        "reason": "KubeletReady",
        "message": "the tests' node agent is there",
        "lastHeartbeatTime": stamp(time.time()),
        "lastTransitionTime": stamp(began),
    }
    return {
        "capacity": settings.capacity,
        "allocatable": settings.capacity,
        "conditions": [ready],
        "addresses": [
            {"type": "InternalIP", "address": "127.0.0.1"},
            {"type": "Hostname", "address": settings.node},
        ],
        "nodeInfo": _info(),
    }


def _info() -> dict[str, str]:
    unknown = ("machineID", "systemUUID", "bootID", "kubeProxyVersion")
    known = {
        "kernelVersion": platform.release(),
        "osImage": "tests",
        "containerRuntimeVersion": "processes://1",
        "kubeletVersion": "v1.33.3",
        "operatingSystem": "linux",
        "architecture": "amd64",
    }
    return dict.fromkeys(unknown, "") | known
