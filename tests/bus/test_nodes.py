"""Names of workers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bus.nodes import node_name, pod_of


@given(st.from_regex(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", fullmatch=True), st.integers(1, 2**22))
def test_a_name_leads_back_to_its_pod(pod: str, pid: int) -> None:
    assert pod_of(node_name(pod, pid)) == pod
