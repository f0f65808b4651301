"""The pace holds against a provider that is stricter than any: used to the limit, and hardly ever refused."""

from __future__ import annotations

import pytest

from tests.double.metering import Account, Enforcement
from tests.workernode.limits.simulation import Load, Replica, World

MINUTE = 60.0
# The topic fills, the limits are learned, the first burst is over.
SETTLED = 140.0
MEASURED = 180.0
LEAST_USED = 0.95
MOST_REFUSED = 0.01


@pytest.mark.parametrize("enforcement", ["bucket", "window"])
@pytest.mark.parametrize(
    ("replicas", "told"), [(1, "by headers"), (4, "by headers"), (4, "by settings"), (16, "by headers")]
)
def test_twice_the_requests_that_are_permitted(enforcement: Enforcement, replicas: int, told: str) -> None:
    limit = 600.0
    account = Account.limited(limit, 0, MINUTE, enforcement)
    load = Load(2 * limit / MINUTE, prompt=(10, 100), answer=(10, 100), max_tokens=100)
    configured = (limit, None) if told == "by settings" else (None, None)
    world = World(account, load, replicas=replicas, seed=replicas, configured=configured)
    world.run(SETTLED)
    before = account.admitted
    world.run(MEASURED)
    assert account.admitted - before >= LEAST_USED * limit * MEASURED / MINUTE
    assert account.refused <= MOST_REFUSED * (account.refused + account.admitted)


@pytest.mark.parametrize("enforcement", ["bucket", "window"])
@pytest.mark.parametrize("replicas", [1, 4, 16])
@pytest.mark.parametrize("refunds", [False, True])
def test_twice_the_tokens_that_are_permitted(enforcement: Enforcement, replicas: int, refunds: bool) -> None:
    """What the provider reserves for an answer it may keep, whatever the answer's length: we cannot know."""
    limit = 300_000.0
    account = Account.limited(0, limit, MINUTE, enforcement)
    load = Load(2 * limit / MINUTE / 650, prompt=(100, 1000), answer=(20, 180), max_tokens=200)
    world = World(account, load, replicas=replicas, seed=replicas, refunds=refunds)
    world.run(SETTLED)
    before = account.tokens
    world.run(MEASURED)
    assert account.tokens - before >= LEAST_USED * limit * MEASURED / MINUTE
    assert account.refused <= MOST_REFUSED * (account.refused + account.admitted)


@pytest.mark.parametrize("enforcement", ["bucket", "window"])
def test_others_on_the_same_key_are_made_room_for(enforcement: Enforcement) -> None:
    limit = 1200.0
    account = Account.limited(limit, 0, MINUTE, enforcement)
    load = Load(2 * limit / MINUTE, prompt=(10, 100), answer=(10, 100), max_tokens=100)
    world = World(account, load, replicas=2, seed=5)

    theirs = [0]

    def foreign() -> None:
        theirs[0] += account.ask(world.clock.now, 1) > 0
        world.clock.after(2 * MINUTE / limit, foreign)

    foreign()
    world.run(SETTLED)
    before = account.admitted
    world.run(MEASURED)
    assert account.admitted - before >= LEAST_USED * limit * MEASURED / MINUTE
    assert account.refused - theirs[0] <= MOST_REFUSED * account.admitted


def test_what_a_dead_replica_leaves_is_used_by_the_others() -> None:
    limit = 600.0
    account = Account.limited(limit, 0, MINUTE, "bucket")
    load = Load(2 * limit / MINUTE, prompt=(10, 100), answer=(10, 100), max_tokens=100)
    world = World(account, load, replicas=3, seed=7)
    world.run(SETTLED)
    for replica in world.replicas[1:]:
        replica.gone = True
    world.run(20.0)  # three notices are missed
    before = account.admitted
    world.run(MEASURED)
    assert account.admitted - before >= LEAST_USED * limit * MEASURED / MINUTE


def test_a_newcomer_gets_its_part_and_nothing_is_refused_for_it() -> None:
    limit = 600.0
    account = Account.limited(limit, 0, MINUTE, "window")
    load = Load(2 * limit / MINUTE, prompt=(10, 100), answer=(10, 100), max_tokens=100)
    world = World(account, load, replicas=2, seed=9)
    world.run(SETTLED)
    newcomer = Replica(world, "newcomer", (None, None))
    world.replicas.append(newcomer)
    world.run(MEASURED)
    assert newcomer.rates.used(world.clock.now) >= 0.3
    assert account.refused == 0


def test_a_burst_after_a_rest_goes_at_once_if_the_provider_has_it_to_give() -> None:
    account = Account.limited(600.0, 0, MINUTE, "bucket")
    load = Load(0.2, prompt=(10, 100), answer=(10, 100), max_tokens=100, latency=(0.5, 0.6))
    world = World(account, load, replicas=1, seed=3)
    world.run(30.0)
    before = account.admitted
    world.waiting += 100
    world.replicas[0].take()
    world.run(2.0)
    assert account.admitted - before >= 100
    assert account.refused == 0
