"""The tables, for statements and for comparing with the migrations. The migrations make them (store/migrations).

JSON is kept as text: it may hold \\u0000, which Postgres's own JSON types refuse.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    desc,
    func,
    text,
)
from sqlalchemy.dialects.postgresql.base import ischema_names
from sqlalchemy.types import UserDefinedType

metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_name)s_fkey",
        "ck": "%(table_name)s_%(constraint_name)s_check",
        "uq": "%(table_name)s_%(column_0_name)s_key",
    }
)


class Xid8(UserDefinedType[int]):
    """The number of a transaction. Rows below the oldest transaction under way are all there (store/reading.py)."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        """Its name in Postgres."""
        return "xid8"


# SQLAlchemy does not know it when it compares tables with migrations.
ischema_names["xid8"] = Xid8


def _number(name: str) -> Column[int]:
    return Column(name, BigInteger, Identity(), primary_key=True)


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False)


def _count(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False)


def _now(name: str) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=False, server_default=func.now())


def _moment(name: str) -> Column[object]:
    return Column(name, DateTime(timezone=True))


def _xid() -> Column[int]:
    return Column("xid", Xid8, nullable=False, server_default=func.pg_current_xact_id())


def _task(*, nullable: bool = False) -> Column[int]:
    return Column("task_id", BigInteger, ForeignKey("tasks.task_id", ondelete="CASCADE"), nullable=nullable)


def _epochs() -> tuple[Column[int], Column[int], CheckConstraint]:
    check = CheckConstraint("global_epoch >= 0 and regional_epoch >= 0", name="epochs")
    return _count("global_epoch"), _count("regional_epoch"), check


users = Table(
    "users",
    metadata,
    _number("user_id"),
    Column("name", Text, nullable=False, unique=True),
    Column("weight", Double, nullable=False, server_default="1"),
    CheckConstraint("weight > 0 and weight < 'infinity'", name="weight"),
)

# `state` and all after it: of a graph; null for a task that is none, which no index here contains.
# `xid`: the transaction in which it ended.
tasks = Table(
    "tasks",
    metadata,
    _number("task_id"),
    _count("user_id"),
    _text("task_type"),
    *_epochs(),
    _text("task_description"),
    _now("created_at"),
    Column("state", Text),
    Column("region", Text),
    Column("owner", Text),
    Column("priority", Integer),
    _moment("deadline"),
    Column("idempotency_key", Text),
    Column("fingerprint", Text),
    _moment("finished_at"),
    Column("summary", Text),
    Column("xid", Xid8),
    Index(
        "tasks_idempotency_key",
        *("user_id", "idempotency_key"),
        unique=True,
        postgresql_where=text("idempotency_key is not null"),
    ),
    Index(
        "tasks_waiting",
        *("user_id", desc("priority"), "task_id"),
        postgresql_where=text("(case when owner is null then state end) = 'open'"),
    ),
    Index(
        "tasks_owned",
        *("owner", "task_id"),
        postgresql_where=text("(case when state = 'open' then owner end) is not null"),
    ),
    Index("tasks_by_state", "state", "task_id", postgresql_where=text("state is not null")),
    Index("tasks_by_user", "user_id", "state", "task_id", postgresql_where=text("state is not null")),
)

# Who may own tasks. `lock`: held in Postgres by its process for as long as that lives (store/ownership.py).
# `lease_until`: minus infinity once it was taken for dead.
coordinators = Table(
    "coordinators",
    metadata,
    Column("name", Text, primary_key=True),
    _text("region"),
    Column("lock", Integer, Identity(), nullable=False),
    Column("lease_until", DateTime(timezone=True), nullable=False),
    Column("renewed_at", DateTime(timezone=True), nullable=False),
)

# The last dispatch of each node of a graph.
dispatches = Table(
    "dispatches",
    metadata,
    Column("task_id", BigInteger, ForeignKey("tasks.task_id", ondelete="CASCADE"), primary_key=True),
    Column("node_id", Text, primary_key=True),
    _text("request_id"),
    _text("model"),
    Column("attempt", Integer, nullable=False),
    _now("dispatched_at"),
    _xid(),
)

# `task_id`: the request or a response of a task, which goes when the task goes. Others stand alone.
documents = Table(
    "documents",
    metadata,
    _number("doc_id"),
    _text("doc_type"),
    _text("doc_content"),
    _task(nullable=True),
    Index("documents_task_id", "task_id"),
)

# `event_id`: the attempt that won, null where an owner wrote the result. `doc_id`: its response. `outcome`: what
# `result` says of it, null where that was written without one. `xid`: of the last write.
progress = Table(
    "progress",
    metadata,
    Column("task_id", BigInteger, ForeignKey("tasks.task_id", ondelete="CASCADE"), primary_key=True),
    Column("node_id", Text, primary_key=True),
    *_epochs(),
    _text("result"),
    Column("event_id", Text),
    Column("doc_id", BigInteger),
    Column("outcome", Text),
    _now("settled_at"),
    _xid(),
)

inbox = Table("inbox", metadata, Column("event_id", Text, primary_key=True), _now("folded_at"))

# Every attempt that reached a provider: counts, never content. It outlives its task.
ledger = Table(
    "ledger",
    metadata,
    Column("request_id", Text, primary_key=True),
    Column("event_id", Text, primary_key=True),
    Column("task_id", BigInteger),
    Column("node_id", Text),
    _text("model"),
    _text("node"),
    _text("node_type"),
    _text("outcome"),
    Column("status", Integer, nullable=False),
    _count("prompt_tokens"),
    _count("completion_tokens"),
    _count("total_tokens"),
    _count("cached_tokens"),
    _count("reasoning_tokens"),
    Column("estimated", Boolean, nullable=False),
    Column("ai_model_name", Text),
    Column("ai_model_namespace", Text),
    Column("started_at", DateTime(timezone=True)),
    Column("finished_at", DateTime(timezone=True)),
    _now("folded_at"),
    CheckConstraint(
        "least(prompt_tokens, completion_tokens, total_tokens, cached_tokens, reasoning_tokens) >= 0", name="counts"
    ),
)

# Messages committed and not yet published. `claimed_by` publishes a row; after `claimed_until` others may.
outbox = Table(
    "outbox",
    metadata,
    _number("outbox_id"),
    _task(),
    _text("node_id"),
    *_epochs(),
    _text("topic"),
    _text("subscription"),
    _text("envelope"),
    Column("doc_id", BigInteger, ForeignKey("documents.doc_id", ondelete="CASCADE"), nullable=False),
    _text("claimed_by"),
    Column("claimed_until", DateTime(timezone=True), nullable=False),
    _now("created_at"),
    Index("outbox_task_id", "task_id"),
    Index("outbox_doc_id", "doc_id"),
    Index("outbox_claimed_until", "claimed_until"),
)

models = Table(
    "models",
    metadata,
    Column("name", Text, primary_key=True),
    _text("node_type"),
    _now("first_seen"),
    _now("last_seen"),
)

pipelines = Table(
    "pipelines", metadata, Column("name", Text, primary_key=True), _text("description"), _now("updated_at")
)

# Whose stage a model is.
pipeline_models = Table(
    "pipeline_models",
    metadata,
    Column("model", Text, primary_key=True),
    Column("pipeline", Text, ForeignKey("pipelines.name", ondelete="CASCADE"), nullable=False),
    Index("pipeline_models_pipeline", "pipeline"),
)
