"""Where KEDA can scale."""

from __future__ import annotations

import msgspec

from coordinator.operator.reconcile.known import Known
from coordinator.operator.wanted.site import Site
from tests.coordinator.operator.objects import SITE


def after(keda: bool, site: Site) -> bool:
    known = Known(site, lambda key, seconds: None, lambda key: None)
    known.set_keda(keda)
    return known.site.keda


def test_keda_scales_where_it_is_and_finds_the_broker() -> None:
    nowhere = msgspec.structs.replace(SITE, pulsar_admin_url="")
    assert after(True, SITE)
    assert not after(True, nowhere)
    assert not after(False, msgspec.structs.replace(SITE, keda=True))
