"""The statements that move messages, each one round trip and one transaction."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from bus.postgres.pools import Pools
from core.errors import MessageRefused

# Payload of a notification that a message was put off: its consumers learn when to look.
DELAYED = "delayed"

# One row for each message and subscription of its topic, in order; none after the time $6, by the server's clock.
_PUT = """
with put as (
    insert into agentos_bus.messages (subscription_id, body, properties, visible_at, key)
    select s.id, m.body, m.properties, case when m.delay > 0 then now() + make_interval(secs => m.delay) end, m.key
    from unnest($1::text[], $2::bytea[], $3::text[], $4::float8[], $5::text[]) with ordinality
         as m (topic, body, properties, delay, key, n)
    join agentos_bus.subscriptions s on s.topic = m.topic
    where ($6::float8 < extract(epoch from now())) is not true
    order by m.n
    returning subscription_id
)
"""
PUBLISH_AND_NOTIFY = f"""{_PUT}
select count(pg_notify('agentos_bus.' || subscription_id, $7)), $6::float8 < extract(epoch from now()) as late,
       extract(epoch from now())::float8 as now
from (select distinct subscription_id from put) touched
"""
# Transactions that notify wait for one another until they are committed, which for a durable one is a wait for the
# disk. So that one notifies in a second statement; where that is lost, the poll finds the message.
PUBLISH = f"""{_PUT}
select array_agg(distinct 'agentos_bus.' || subscription_id) from put
"""
NOTIFY = """
select count(pg_notify(channel, $2)) from unnest($1::text[]) channel
"""

# The lock on the consumer's row keeps it from being ended between the look at it and the claim's commit.
# The last column says whether more may be ready: it saves a second claim that finds nothing.
CLAIM = """
with claimed as (
    update agentos_bus.messages set consumer_id = $2
    where id = any (array(
        select m.id
        from (select id from agentos_bus.consumers where id = $2 for key share) me,
             agentos_bus.messages m
        where m.subscription_id = $1 and m.consumer_id is null and m.visible_at is null
        order by m.id limit $3
        for update of m skip locked
    ))
    returning id, body, properties, attempt, date_part('epoch', published_at), crashes, key
)
select claimed.*, (
    select count(*) > $3 from (
        select from agentos_bus.messages
        where subscription_id = $1 and consumer_id is null and visible_at is null
        limit $3 + 1
    ) ready
) as more
from claimed
"""

# Delayed messages whose time has come become ready, and every consumer hears of it. Returns how many, the
# seconds until the next one, and whether the consumer that asks still has its row.
RIPEN = """
with ripe as (
    update agentos_bus.messages set visible_at = null
    where id = any (array(
        select id from agentos_bus.messages where subscription_id = $1 and visible_at <= now()
        order by visible_at limit 1000
        for update skip locked
    ))
    returning id
)
select (select count(*) from ripe) as ripened,
       (select extract(epoch from min(visible_at) - now())::float8 from agentos_bus.messages
        where subscription_id = $1 and visible_at > now()) as next_due,
       exists (select from agentos_bus.consumers where id = $2) as joined,
       (select pg_notify('agentos_bus.' || $1::integer, '') where exists (select from ripe))
"""

ACK = """
delete from agentos_bus.messages where id = any ($1) and consumer_id = $2
"""

# What a consumer ($1) holds, has acked and is settling, told again after an accident. Each row is touched once.
RECONCILE = """
with me as (
    select id from agentos_bus.consumers where id = $1 for key share
), kept as (
    update agentos_bus.messages set consumer_id = $1
    where id = any ($2::bigint[]) and consumer_id is null and visible_at is null and exists (select from me)
), gone as (
    delete from agentos_bus.messages where id = any ($3::bigint[]) and coalesce(consumer_id, $1) = $1
), back as (
    update agentos_bus.messages set consumer_id = null
    where consumer_id = $1 and id <> all ($2::bigint[] || $3::bigint[] || $4::bigint[])
    returning subscription_id
)
select pg_notify('agentos_bus.' || id, '') from (select distinct subscription_id as id from back) t
"""

GIVE_BACK = """
with back as (
    update agentos_bus.messages set consumer_id = null where id = any ($1) and consumer_id = $2
    returning subscription_id
)
select pg_notify('agentos_bus.' || id, '') from (select distinct subscription_id as id from back) t
"""

# $1 and $2 are the message and its holder, as everywhere below.
NACK = """
with back as (
    update agentos_bus.messages
    set consumer_id = null, attempt = attempt + $4::int,
        visible_at = case when $3::float8 > 0 then now() + make_interval(secs => $3) end
    where id = $1 and consumer_id = $2
    returning subscription_id, visible_at
)
select pg_notify('agentos_bus.' || subscription_id, case when visible_at is null then '' else 'delayed' end) from back
"""

DEAD_LETTER = """
with gone as (
    delete from agentos_bus.messages where id = $1 and consumer_id = $2 returning body, key
), put as (
    insert into agentos_bus.messages (subscription_id, body, properties, key)
    select s.id, gone.body, $4, gone.key from gone, agentos_bus.subscriptions s where s.topic = $3
    returning subscription_id
)
select pg_notify('agentos_bus.' || subscription_id, '') from put
"""

# Which keys are in a topic, in whichever state: rows go when they are settled.
PUBLISHED = """
select distinct m.key
from agentos_bus.subscriptions s cross join lateral (
    select key from agentos_bus.messages
    where subscription_id = s.id and consumer_id is null and visible_at is null
    union all
    select key from agentos_bus.messages where subscription_id = s.id and visible_at is not null
    union all
    select held.key from agentos_bus.consumers c join agentos_bus.messages held on held.consumer_id = c.id
    where c.subscription_id = s.id
) m
where s.topic = $1 and m.key = any ($2)
"""

BACKLOG = """
with this as (select id from agentos_bus.subscriptions where topic = $1 and name = $2)
select (select count(*) from this join agentos_bus.messages m on m.subscription_id = this.id
        where m.consumer_id is null and m.visible_at is null)
     + (select count(*) from this join agentos_bus.messages m on m.subscription_id = this.id
        where m.visible_at <= now()) as ready,
       (select count(*) from this join agentos_bus.messages m on m.subscription_id = this.id
        where m.visible_at > now()) as delayed,
       (select count(*) from this join agentos_bus.consumers c on c.subscription_id = this.id
        join agentos_bus.messages m on m.consumer_id = c.id) as in_flight
"""

_ENSURE_SUBSCRIPTION = """
insert into agentos_bus.subscriptions (topic, name) values ($1, $2)
on conflict (topic, name) do update set topic = excluded.topic
returning id
"""

_properties = msgspec.json.Decoder(dict[str, str])


async def ensure_subscription(pools: Pools, topic: str, name: str) -> int:
    """The subscription's id; it is made where it is missing."""
    return int(await pools.durable(_ENSURE_SUBSCRIPTION, topic, name))


def encode_properties(properties: Mapping[str, str]) -> str:
    """JSON. Raises `MessageRefused`."""
    try:
        return msgspec.json.encode(properties).decode()
    except (TypeError, UnicodeEncodeError) as error:
        raise MessageRefused("properties must be text") from error


def decode_properties(properties: str) -> dict[str, str]:
    """The inverse of `encode_properties`."""
    return _properties.decode(properties)
