"""One table of holds instead of those of freezes, exclusions and breaker overrides."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)

SELECTOR = ("route_id", "provider", "region", "track")
SHARED = ("owner", "reason", "added_at")
OLD = {
    "freeze": ("freezes", "freeze_id", (*SHARED, *SELECTOR, "starts_at", "ends_at")),
    "exclusion": ("exclusions", "exclusion_id", (*SHARED, *SELECTOR, "expires_at", "pinned_to")),
    "breaker-override": (
        "breaker_overrides",
        "override_id",
        (*SHARED, "group_name", "expires_at"),
    ),
}
"""The table of each kind, its key, and its other columns."""

TIMES = ("added_at", "starts_at", "ends_at", "expires_at")


def upgrade() -> None:
    op.create_table(
        "holds",
        sa.Column("hold_id", NUMBER, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("starts_at", TIME, nullable=False),
        sa.Column("ends_at", TIME, nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        *(sa.Column(name, sa.Text()) for name in SELECTOR),
        sa.Column("pinned_to", sa.Text()),
        sa.Column("added_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("hold_id", name="pk_holds"),
        sqlite_autoincrement=True,
    )
    for kind, (table, _, _) in OLD.items():
        for row in _rows(kind):
            op.execute(sa.insert(HOLDS).values(kind=kind, **_hold(row)))
        op.drop_table(table)


def downgrade() -> None:
    for kind, (table, key, columns) in OLD.items():
        op.create_table(
            table,
            sa.Column(key, NUMBER, nullable=False),
            *(_old_column(name) for name in _in_order(columns)),
            sa.PrimaryKeyConstraint(key, name=f"pk_{table}"),
            sqlite_autoincrement=True,
        )
        found = op.get_bind().execute(
            sa.select(HOLDS).where(HOLDS.c.kind == kind).order_by(HOLDS.c.hold_id)
        )
        for row in found.mappings().all():
            values = {name: _old_value(dict(row), name) for name in columns}
            op.execute(sa.insert(_old_table(kind)).values(**values))
    op.drop_table("holds")


def _rows(kind: str) -> list[Mapping[str, Any]]:
    table = _old_table(kind)
    key = table.c[OLD[kind][1]]
    return [dict(row) for row in op.get_bind().execute(sa.select(table).order_by(key)).mappings()]


def _hold(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a hold, without its kind."""
    return {
        **{name: row.get(name) for name in (*SHARED, *SELECTOR, "pinned_to")},
        **_selector(row.get("group_name")),
        "starts_at": row.get("starts_at") or row["added_at"],
        "ends_at": row.get("ends_at") or row["expires_at"],
    }


def _selector(group: str | None) -> dict[str, str]:
    """Return the selector's columns for a group of the breaker."""
    kind, _, name = (group or "fleet").partition(" ")
    if kind == "region":
        provider, _, region = name.partition("/")
        return {"provider": provider, "region": region}
    return {} if kind == "fleet" else {kind: name}


def _old_value(hold: Mapping[str, Any], name: str) -> Any:
    if name == "expires_at":
        return hold["ends_at"]
    return _group(hold) if name == "group_name" else hold[name]


def _group(hold: Mapping[str, Any]) -> str:
    if hold["region"]:
        return f"region {hold['provider']}/{hold['region']}"
    named = [f"{kind} {hold[kind]}" for kind in ("provider", "track") if hold[kind]]
    return named[0] if named else "fleet"


def _in_order(columns: tuple[str, ...]) -> list[str]:
    """Return the columns in the order in which the tables had them."""
    order = ("group_name", "starts_at", "ends_at", "owner", "reason", "expires_at", "pinned_to")
    return sorted(columns, key=(*order, *SELECTOR, "added_at").index)


def _old_column(name: str) -> sa.Column[Any]:
    optional = name in (*SELECTOR, "pinned_to")
    return sa.Column(name, TIME if name in TIMES else sa.Text(), nullable=optional)


def _old_table(kind: str) -> sa.TableClause:
    table, key, columns = OLD[kind]
    return sa.table(table, sa.column(key), *(_typed(name) for name in columns))


def _typed(name: str) -> sa.ColumnClause[Any]:
    return sa.column(name, TIME if name in TIMES else sa.Text())


HOLDS = sa.table(
    "holds",
    sa.column("hold_id"),
    *map(_typed, ("kind", "starts_at", "ends_at", *SHARED, *SELECTOR, "pinned_to")),
)
