"""Names of workers, as they tell them in notices and events. Pure."""

from __future__ import annotations


def node_name(host: str, pid: int) -> str:
    """One worker's name. `host`: its machine, or its Pod.

    A container that is started anew in its Pod has the name of the one before: no two of them live at one time, and
    nothing that tells the living from the dead (leases, the journal of deliveries) goes by this name.
    """
    return f"{host}-{pid}"


def pod_of(node: str) -> str:
    """The `host` of such a name; of an AIModel's worker, its Pod."""
    return node.rpartition("-")[0]
