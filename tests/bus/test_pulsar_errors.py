"""Every error of Pulsar's client has its place in our tree."""

from __future__ import annotations

import _pulsar
import pulsar
import pytest

from bus.pulsar.client import derive_admin_url
from bus.pulsar.errors import CLASSES, from_exception, from_result
from core.errors import BusClosed, BusRefused, BusUnavailable, MessageRefused


def exported() -> set[str]:
    found = [*vars(_pulsar).values(), *vars(pulsar).values()]
    return {each.__name__ for each in found if isinstance(each, type) and issubclass(each, BaseException)}


def test_every_exception_and_result_is_classified_once() -> None:
    results = {name for name in _pulsar.Result.__members__ if name != "Ok"}
    assert len(results) > 40
    assert set(CLASSES) == exported() | results


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("ConnectError", BusUnavailable),
        ("Timeout", BusUnavailable),
        ("AuthenticationError", BusRefused),
        ("AuthorizationError", BusRefused),
        ("MessageTooBig", MessageRefused),
        ("AlreadyClosed", BusClosed),
    ],
)
def test_exceptions_and_results_of_one_name_mean_the_same(name: str, kind: type[Exception]) -> None:
    for error in (
        from_exception(getattr(pulsar, name)("detail"), "doing x"),
        from_result(_pulsar.Result.__members__[name], "doing x"),
    ):
        assert type(error) is kind
        assert str(error) == f"doing x: Pulsar says {name}"


@pytest.mark.parametrize(
    ("url", "admin_url"),
    [
        ("pulsar://broker:6650", "http://broker:8080"),
        ("pulsar://a:6650,b:6650", "http://a:8080"),
        ("pulsar+ssl://broker:6651", "https://broker:8443"),
        ("pulsar://[::1]:6650", "http://[::1]:8080"),
    ],
)
def test_the_admin_address_is_on_the_same_host(url: str, admin_url: str) -> None:
    assert derive_admin_url(url) == admin_url
