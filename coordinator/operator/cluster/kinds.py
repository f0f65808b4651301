"""Kinds of objects that the operator speaks of, and which of them it looks at. Pure."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import quote

from coordinator.operator.wanted.names import MANAGED
from core.aimodels import GROUP, PLURAL, VERSION


class Kind(NamedTuple):
    """A kind of objects that have a namespace. `group`: empty for the core's."""

    group: str
    version: str
    plural: str

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """Where they are; of one of them where a name is given."""
        parts = ["", "apis", self.group, self.version] if self.group else ["", "api", self.version]
        parts += ["namespaces", quote(namespace)] if namespace else []
        return "/".join([*parts, self.plural, *map(quote, filter(None, (name, subresource)))])


AIMODELS = Kind(GROUP, VERSION, PLURAL)
DEPLOYMENTS = Kind("apps", "v1", "deployments")
SCALED_OBJECTS = Kind("keda.sh", "v1alpha1", "scaledobjects")
BROKER_LOGINS = Kind("keda.sh", "v1alpha1", "triggerauthentications")
PODS = Kind("", "v1", "pods")
EVENTS = Kind("", "v1", "events")
LEASES = Kind("coordination.k8s.io", "v1", "leases")
# By the name of the kind, of what is applied.
APPLIED = {
    "Deployment": DEPLOYMENTS,
    "ScaledObject": SCALED_OBJECTS,
    "TriggerAuthentication": BROKER_LOGINS,
    "Secret": Kind("", "v1", "secrets"),
    "ServiceAccount": Kind("", "v1", "serviceaccounts"),
    "RoleBinding": Kind("rbac.authorization.k8s.io", "v1", "rolebindings"),
}


class Selectors(NamedTuple):
    """As queries have them; empty: all."""

    labels: str = ""
    fields: str = ""


# What is watched, and listed in this order: AIModels first, as the others tell about them.
LOOKED_AT = {
    AIMODELS: Selectors(),
    DEPLOYMENTS: Selectors(labels=MANAGED),
    EVENTS: Selectors(fields="involvedObject.kind=AIModel"),
}
