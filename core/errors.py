"""The one tree of errors.

    AgentOSError
    ├── ConfigurationError          a setting is wrong; only a person can mend it
    ├── PartError                   a real part (Postgres, Pulsar, a model server) could not be started
    ├── BusError
    │   ├── BusUnavailable          the broker cannot be reached now; the same call may succeed later
    │   ├── BusRefused              the broker refuses us (credentials, rights, names); a retry will not help
    │   ├── BusClosed               this side has closed the bus, the subscription or the publisher
    │   ├── MessageRefused          the broker refuses this one message (too large, malformed)
    │   └── BlobMissing             a claim-checked body is no longer there
    ├── BadMessage                  a message does not follow its contract
    │   ├── DescriptionRefused      a task's description is wrong at a place (`coordinator.graph.specs`)
    │   ├── WrongPipeline           so is a pipeline's (`policy.slo.pipeline`)
    │   ├── BadReference            a string of it is no reference (`coordinator.graph.references`)
    │   └── WrongAIModel            an AIModel cannot be worked with (`coordinator.operator.wanted.aimodel`)
    ├── ReferenceFailed             a reference cannot be filled in (`coordinator.graph.references`)
    ├── Unresolved                  the same, before its place is known (`coordinator.graph.outputs`)
    ├── StoreError
    │   ├── StoreUnavailable        Postgres cannot be reached now
    │   ├── NotFound                no such row
    │   ├── StaleEpoch              an older owner tried to write
    │   ├── ModelInUse              a model is a stage of another pipeline
    │   └── TaskClosed              the task has ended and changes no more
    ├── BackendUnavailable          a worker's backend cannot serve calls now (`workernode.errors`)
    ├── NotNow                      a node is not to make a call now, another may (`workernode.errors`)
    ├── Dropped                     a request cannot be served in time any more (`workernode.errors`)
    ├── LeaseLost                   another worker may have the message by now (`workernode.errors`)
    ├── ClusterError                Kubernetes did not do what was asked (`core.cluster`)
    ├── EndpointRefused             a message's `endpoint` may not be replied to (`workernode.errors`)
    ├── GatewayUnavailable          a client finds no gateway that serves (`workload.errors`)
    ├── GatewayRefused              a gateway refuses a client's request (`workload.errors`)
    ├── TaskFailed                  a task has ended without its result (`workload.errors`)
    └── CallFailed                  an upstream call ended without a usable answer (`workernode.errors`)

Callers catch by level. The text of an error is for a person, never holds a prompt, a completion or a secret,
and says what was wrong, where, and what would be right.
"""

from __future__ import annotations


class AgentOSError(Exception):
    """Anything that AgentOS raises by name."""


class ConfigurationError(AgentOSError):
    """A setting is missing, unknown or wrong."""


class PartError(AgentOSError):
    """A real part could not be started or does not answer."""


class BusError(AgentOSError):
    """The bus could not do what was asked."""


class BusUnavailable(BusError):
    """The broker cannot be reached now; the same call may succeed later."""


class BusRefused(BusError):
    """The broker refuses us: credentials, rights or names are wrong."""


class BusClosed(BusError):
    """This side has closed the bus, the subscription or the publisher."""


class MessageRefused(BusError):
    """The broker refuses this one message; others are not affected."""


class BlobMissing(BusError):
    """A claim-checked body is no longer there."""


class BadMessage(AgentOSError):
    """A message does not follow its contract."""


class StoreError(AgentOSError):
    """The store could not do what was asked."""


class StoreUnavailable(StoreError):
    """Postgres cannot be reached now; the same call may succeed later."""


class NotFound(StoreError):
    """No such row."""


class StaleEpoch(StoreError):
    """An older owner tried to write over a newer one."""


class TaskClosed(StoreError):
    """The task has ended; nothing changes it any more."""


class ModelInUse(StoreError):
    """A model is a stage of another pipeline."""

    def __init__(self, model: str, pipeline: str) -> None:
        super().__init__(f"the model {model!r} is a stage of the pipeline {pipeline!r}; each model is one pipeline's")
        self.model = model
        self.pipeline = pipeline
