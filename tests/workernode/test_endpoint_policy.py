from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import ConfigurationError
from core.settings import load
from workernode.endpoint_policy import EndpointPolicy
from workernode.settings import WorkerSettings


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://program.example/reply?x=1",
        "wss://program:8443/reply",
        "http://127.0.0.1:8000/reply",
        "http://[::1]:8000/reply",
        "http://10.1.2.3/",
        "http://192.168.0.7/",
        "http://[fd12:3456::1]/",
        "http://[::ffff:10.1.2.3]/",
    ],
)
def test_programs_are_replied_to_on_private_addresses_too(endpoint: str) -> None:
    assert EndpointPolicy().refusal(endpoint) is None


@pytest.mark.parametrize(
    ("endpoint", "reason"),
    [
        ("http://169.254.169.254/latest/meta-data", "metadata|link-local"),
        ("http://169.254.169.254./latest", "link-local"),
        ("ws://169.254.10.1/", "link-local"),
        ("http://[fe80::1]/", "link-local"),
        ("http://[fe80::1%25eth0]/", "link-local"),
        ("http://[::ffff:169.254.169.254]/", "link-local"),
        ("http://[::ffff:a9fe:a9fe]/", "link-local"),
        ("http://[::169.254.169.254]/", "link-local"),
        ("http://[64:ff9b::169.254.169.254]/", "link-local"),
        ("http://[2002:a9fe:a9fe::1]/", "link-local"),
        ("http://100.100.100.200/", "metadata"),
        ("http://168.63.129.16/", "metadata"),
        ("http://[fd00:ec2::254]/", "metadata"),
        ("http://[FD00:0EC2::0254]/", "metadata"),
        ("http://metadata.google.internal/computeMetadata", "metadata"),
        ("http://METADATA.google.internal./", "metadata"),
        ("http://0.0.0.0:8000/", "nobody"),
        ("http://0.1.2.3/", "nobody"),
        ("http://[::]/", "nobody"),
        ("http://255.255.255.255/", "nobody"),
        ("http://224.0.0.1/", "multicast"),
        ("http://[ff02::1]/", "multicast"),
        ("http://2852039166/", "is not an address"),
        ("http://0xa9fea9fe/", "is not an address"),
        ("http://0251.0376.0251.0376/", "is not an address"),
        ("http://169.254.43518/", "is not an address"),
        ("http://user:secret@program/", "credentials"),
        ("http://@169.254.169.254/", "credentials"),
        ("http://good\\@169.254.169.254/", "is not an address"),
        ("http://good.example\n/", "is not an address"),
        ("http://１６９.254.169.254/", "is not an address"),
        ("http://program:99999/", "is not an address"),
        ("http://[::1/", "is not an address"),
        ("http:///path", "is not an address"),
        ("", "is no http"),
        ("file:///etc/passwd", "is no http"),
        ("ftp://program/", "is no http"),
        ("gopher://program/", "is no http"),
    ],
)
def test_what_only_this_machine_reaches_is_refused(endpoint: str, reason: str) -> None:
    policy = EndpointPolicy()
    said = policy.refusal(endpoint)
    assert said is not None
    assert any(each in said for each in reason.split("|"))
    assert "secret" not in said


@given(st.integers(0, 0xFFFF).map(lambda low: IPv4Address((169 << 24) + (254 << 16) + low)))
def test_no_form_of_a_link_local_address_passes(address: IPv4Address) -> None:
    policy = EndpointPolicy("*")
    value = int(address)
    forms = [str(address), f"::ffff:{address}", f"64:ff9b::{address}", f"2002:{value >> 16:x}:{value & 0xFFFF:x}::"]
    assert all(policy.refusal_of("any.example", 80, form) for form in forms)


def test_a_name_is_judged_by_each_of_its_addresses() -> None:
    policy = EndpointPolicy()
    assert policy.refusal("http://rebound.example/") is None
    assert policy.refusal_of("rebound.example", 80, "169.254.169.254")
    assert policy.refusal_of("rebound.example", 80, "127.0.0.1") is None


ALLOW = "*.example.com, reply.internal:8443, 10.0.0.0/8, 192.168.1.5:8000, [::1]:9000"


@pytest.mark.parametrize(
    ("endpoint", "address", "allowed"),
    [
        ("http://a.example.com/", "93.184.215.14", True),
        ("http://A.EXAMPLE.com./", "93.184.215.14", True),
        ("http://a.example.com/", "169.254.169.254", False),
        ("http://example.com.evil.net/", "93.184.215.14", False),
        ("https://reply.internal:8443/", "172.16.0.1", True),
        ("https://reply.internal/", "172.16.0.1", False),
        ("http://some.host/", "10.2.3.4", True),
        ("http://some.host/", "::ffff:10.2.3.4", True),
        ("http://10.2.3.4:99/", "10.2.3.4", True),
        ("http://11.2.3.4/", "11.2.3.4", False),
        ("http://192.168.1.5:8000/", "192.168.1.5", True),
        ("http://192.168.1.5/", "192.168.1.5", False),
        ("ws://[::1]:9000/", "::1", True),
        ("ws://[::1]:9001/", "::1", False),
    ],
)
def test_the_allow_list_admits_names_networks_and_ports(endpoint: str, address: str, allowed: bool) -> None:
    policy = EndpointPolicy(ALLOW)
    host = endpoint.split("/")[2]
    name, _, port = host.rpartition(":") if host[-1].isdigit() and host.count(":") in (1, 3) else (host, "", "80")
    port = "443" if endpoint.startswith("https") and port == "80" else port
    text = policy.refusal(endpoint) is None
    found = policy.refusal_of(name.strip("[]"), int(port), address) is None
    assert (text and found) == allowed


def test_a_list_of_names_alone_refuses_other_names_by_their_text() -> None:
    policy = EndpointPolicy("*.example.com")
    assert policy.refusal("http://other.net/") == "is not on the allow-list"
    assert policy.refusal("http://a.example.com/") is None


ENVIRONMENT = {"NODE_TYPE": "mock", "MODEL_NAME": "m", "AGENTOS_BUS_URL": "postgresql://h/d"}


@pytest.mark.parametrize("allow", ["10.0.0.1/8", "http://a.example", "a b", "host:0", "host:70000", "300.1.1.1"])
def test_a_wrong_entry_is_told(allow: str) -> None:
    with pytest.raises(ConfigurationError, match="AGENTOS_ENDPOINT_ALLOW"):
        load(WorkerSettings, environ={**ENVIRONMENT, "AGENTOS_ENDPOINT_ALLOW": allow})
