"""deploy/ on a bare cluster, applied by kubectl: all of it, the rights that it gives, the policies that it makes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.kubernetes.bare import DIGEST, Bare
from tests.kubernetes.kubectl import DEPLOY, KubectlError
from tests.kubernetes.workloads import until

pytestmark = [pytest.mark.kubernetes, pytest.mark.xdist_group("kubernetes")]

Object = dict[str, Any]

REMOTE = {"type": "remote", "model": "m", "baseURL": "https://api.example.com"}
TAG = "registry.example.com/two:1"
EXAMPLES = {file.stem: file.read_text() for file in (DEPLOY / "examples").glob("*.yaml")}
POLICIES = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"


def aimodel(**spec: Any) -> str:
    head = {"apiVersion": "model.youxam.com/v1alpha1", "kind": "AIModel", "metadata": {"name": "gpt"}}
    return json.dumps(head | {"spec": REMOTE | spec})


def test_one_apply_makes_all_of_it(bare: Bare) -> None:
    lines = bare.said.splitlines()
    assert len(lines) > 20
    assert all(line.endswith(" created") for line in lines)


async def test_a_second_apply_changes_nothing(bare: Bare) -> None:
    lines = (await bare.kubectl("apply", "-k", str(DEPLOY))).splitlines()
    # kubectl replaces the selectors of PodDisruptionBudgets each time, by themselves.
    others = [line for line in lines if not line.startswith("poddisruptionbudget")]
    assert [line for line in others if not line.endswith(" unchanged")] == []


async def test_pod_security_lets_the_pods_in(bare: Bare) -> None:
    """The namespace enforces "restricted"; without a Node they wait."""

    def seen() -> bool:
        pods = bare.cluster.ask("GET", "/api/v1/namespaces/agentos/pods")["items"]
        return len(pods) == 4

    await until(seen, "Pods of two Deployments")
    events = await bare.kubectl(
        "get", "events", "-n", "agentos", "--field-selector=reason=FailedCreate", "-o", "name"
    )
    assert events == ""


@pytest.mark.parametrize("overlay", ["dev", "production"])
async def test_the_api_server_takes_each_overlay(bare: Bare, overlay: str) -> None:
    directory = DEPLOY / "overlays" / overlay
    said, warned = await bare.kubectl.both("apply", "--dry-run=server", "-k", str(directory))
    assert "(server dry run)" in said
    assert warned == ""  # of Pod Security, of fields that are no more


@pytest.mark.parametrize("example", EXAMPLES.values(), ids=EXAMPLES)
async def test_the_api_server_takes_each_example(bare: Bare, team: str, example: str) -> None:
    said, warned = await bare.kubectl.both("apply", "-n", team, "-f", "-", given=example)
    assert said.endswith(" created\n")
    assert warned == ""


async def test_a_key_in_plain_text_is_taken_and_warned_of(bare: Bare, team: str) -> None:
    warned = ""
    while not warned:  # the policy comes into force a moment after it is made
        given = aimodel(apiKey="sk-not-a-key")
        said, warned = await bare.kubectl.both("apply", "--dry-run=server", "-n", team, "-f", "-", given=given)
        assert said == "aimodel.model.youxam.com/gpt created (server dry run)\n"
    assert warned.startswith("Warning: ")
    assert "spec.apiKeySecretRef" in warned
    assert "sk-not-a-key" not in warned
    given = aimodel(apiKeySecretRef={"name": "openai"})
    _, warned = await bare.kubectl.both("apply", "--dry-run=server", "-n", team, "-f", "-", given=given)
    assert warned == ""


async def test_images_without_a_digest_are_refused_where_the_namespace_says_so(bare: Bare, team: str) -> None:
    refused = "images of this namespace are named by digest .* deploy/pin .* not so: registry.example.com/two:1"
    create = ("create", "deployment", "d", "-n", team)
    with pytest.raises(KubectlError, match=refused):
        await bare.kubectl(*create, f"--image={DIGEST}", f"--image={TAG}")
    with pytest.raises(KubectlError, match=refused):
        await bare.kubectl("run", "p", "-n", team, f"--image={TAG}")
    await bare.kubectl(*create, f"--image={DIGEST}")
    await bare.kubectl("create", "deployment", "d", "-n", "default", f"--image={TAG}", "--dry-run=server")


async def test_the_expressions_of_all_policies_are_of_the_right_types(bare: Bare) -> None:
    """The controllers check them against the schemas of what they are about."""
    policies: list[Object] = []

    def checked() -> bool:
        policies[:] = bare.cluster.ask("GET", POLICIES)["items"]
        return all(each["status"].get("observedGeneration") for each in policies)

    await until(checked, "the controllers have looked at the policies")
    assert len(policies) == 3
    for policy in policies:
        warnings = policy["status"].get("typeChecking", {}).get("expressionWarnings", [])
        assert warnings == [], policy["metadata"]["name"]


async def test_uninstalling_takes_everything_away(bare: Bare) -> None:
    said = await bare.kubectl("delete", "-k", str(DEPLOY), "--dry-run=server")
    assert len(said.splitlines()) == len(bare.said.splitlines())
