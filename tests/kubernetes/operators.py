"""AIModels as a user of the cluster has them: applied, looked at, asked through the gateway."""

from __future__ import annotations

import asyncio
import base64
import json
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any

import openai
import pytest
import pytest_asyncio

from tests.double.server import Provider
from tests.e2e.asking import ask
from tests.fixtures.fleet import until
from tests.fixtures.installation import NAMESPACE, Installation
from tests.kubernetes.workloads import Object, Space, is_ready

GROUP = "model.youxam.com/v1alpha1"
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
# A Pod is a Python program that starts on a busy machine.
SECONDS = 55.0
PAUSE_SECONDS = 0.2


class Home(Space):
    """A namespace of a user's, with Pod Security "restricted"; `model` is a name of its own for a model."""

    def __init__(self, installation: Installation, name: str) -> None:
        super().__init__(installation.cluster, name)
        self.installation = installation
        self.model = f"org/model {uuid.uuid4().hex[:12]}"

    async def kubectl(self, *arguments: str, given: str = "") -> str:
        """In this namespace."""
        return await self.installation.kubectl(*arguments, "-n", self.name, given=given)

    async def apply(self, name: str, provider: Provider, **fields: Any) -> None:
        """A remote AIModel in front of the provider, as from a file of a user's."""
        spec = {"type": "remote", "model": self.model, "baseURL": provider.url, **fields}
        body = {"apiVersion": GROUP, "kind": "AIModel", "metadata": {"name": name}, "spec": spec}
        await self.kubectl("apply", "-f", "-", given=json.dumps(body))

    def aimodel(self, name: str) -> Object:
        """Empty if there is none."""
        return self.cluster.find(f"/apis/{GROUP}/namespaces/{self.name}/aimodels/{name}") or {}

    async def state(self, name: str, state: str, seconds: float = SECONDS) -> Object:
        """The AIModel's status, once it tells of the AIModel as it is now, and is in this state."""

        def look() -> bool:
            found.clear()
            found.update(self.aimodel(name))
            status = found.get("status", {})
            newest = status.get("observedGeneration") == found.get("metadata", {}).get("generation")
            return bool(newest and status.get("state") == state)

        found: Object = {}
        try:
            await self.until(look, f"{name} is {state}", seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}: {json.dumps(found.get('status'))}") from error
        status: Object = found["status"]
        return status

    async def scaled(self, name: str, pods: int, seconds: float = SECONDS) -> list[str]:
        """The names of the AIModel's Pods, once there are so many, none of them ending, and all are ready."""

        def look() -> bool:
            found[:] = self.pods_of(name)
            return len(found) == pods and all(is_ready(each["status"]) for each in found)

        found: list[Object] = []
        await self.until(look, f"{name} has {pods} Pods", seconds)
        return [each["metadata"]["name"] for each in found]

    def pods_of(self, name: str) -> list[Object]:
        """Those of the AIModel that are not being deleted."""
        label = ("model.youxam.com/aimodel", name)
        return [each for each in self.pods() if label in each["metadata"]["labels"].items()]

    async def ended(self, pods: Iterable[str]) -> None:
        """Waits until none of these is left, not even ending."""
        await self.until(lambda: not any(self.find("pods", name) for name in pods), "the Pods have ended")

    async def until(self, look: Callable[[], Any], what: str, seconds: float = SECONDS) -> Any:
        """Waits for what the API server tells; returns what `look` gave. The test's loop goes on meanwhile."""

        async def now_and_then() -> Any:
            seen = await asyncio.to_thread(look)
            if not seen:
                await asyncio.sleep(PAUSE_SECONDS)
            return seen

        return await until(now_and_then, f"{self.name}: {what}", seconds=seconds)

    async def warned(self, reason: str) -> Object:
        """The first Warning Event with this reason about an AIModel of the namespace."""

        def look() -> list[Object]:
            events: list[Object] = self.cluster.ask("GET", self.path("events"))["items"]
            about = [each for each in events if each["involvedObject"]["kind"] == "AIModel"]
            return [each for each in about if (each["type"], each["reason"]) == ("Warning", reason)]

        found: list[Object] = await self.until(look, f"an Event {reason}")
        return found[0]

    async def must_not_show(self, secret: str) -> None:
        """That it is neither in what the operator has made, but the Secret, nor in what any process has written."""
        made = await self.kubectl(
            "get", "deployments,replicasets,pods,events,configmaps,serviceaccounts", "-o", "json"
        )
        statuses = await self.kubectl("get", "aimodels", "-o", "jsonpath={.items[*].status}")
        written = [text for each in (NAMESPACE, self.name) for _, text in self.installation.logs(each)]
        for hidden in (secret, base64.b64encode(secret.encode()).decode()):
            assert not any(hidden in text for text in (made, statuses, *written))


class Asker:
    """Clients that ask without a pause until they are told to stop. `answers`: what came, errors too."""

    def __init__(self, client: openai.AsyncOpenAI, model: str, clients: int) -> None:
        self._stop = asyncio.Event()
        self.answers: list[str] = []
        self._tasks = [asyncio.create_task(self._ask(client, model)) for _ in range(clients)]

    async def _ask(self, client: openai.AsyncOpenAI, model: str) -> None:
        while not self._stop.is_set():
            try:
                self.answers.append(await ask(client, model))
            except openai.APIError as error:
                self.answers.append(repr(error))

    async def stop(self) -> list[str]:
        """All answers, those to the last requests too."""
        self._stop.set()
        await asyncio.gather(*self._tasks)
        return self.answers


@pytest_asyncio.fixture
async def home(installation: Installation) -> AsyncIterator[Home]:
    """A namespace of the test's own."""
    name = "e" + uuid.uuid4().hex[:12]
    meta = {"name": name, "labels": RESTRICTED}
    await asyncio.to_thread(installation.cluster.ask, "POST", "/api/v1/namespaces", {"metadata": meta})
    yield Home(installation, name)
    # What was made for its AIModels ends with it.
    await asyncio.to_thread(installation.cluster.ask, "DELETE", f"/api/v1/namespaces/{name}")


@pytest.fixture
async def client(home: Home) -> AsyncIterator[openai.AsyncOpenAI]:
    """Of one gateway."""
    async with home.installation.client() as client:
        yield client


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Shows what a person would look at where a test fails."""
    outcome: Any = yield
    report = outcome.get_result()
    home = getattr(item, "funcargs", {}).get("home")
    if report.failed and isinstance(home, Home):
        report.sections += [*home.installation.told(NAMESPACE), *home.installation.told(home.name)]
