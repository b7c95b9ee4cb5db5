"""Every move of an alias is kept, those of before from the events; some aliases take an approval."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table, add the column, and take over what the events tell."""
    moves = op.create_table(
        "alias_move",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("alias", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=True),
        sa.Column("before", sa.BigInteger(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("asked_at", sa.Double(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("decided_at", sa.Double(), nullable=True),
        sa.Column("decided_by", sa.Text(), nullable=False),
        sa.Column("decision", sa.Text(), nullable=False),
    )
    op.create_index("ix_alias_move_model_asked_at", "alias_move", ["model", "asked_at"])
    with op.batch_alter_table("registered_model") as table:
        table.add_column(sa.Column("protected", sa.Text(), nullable=False, server_default="[]"))
    with op.batch_alter_table("registered_model") as table:
        table.alter_column("protected", server_default=None)
    known = op.get_bind().execute(
        sa.text(
            "SELECT id, time, subject, actor, data FROM event WHERE kind IN ('model.alias_set', 'model.alias_removed')"
        )
    )
    rows = []
    for event, time, subject, actor, data in known:
        told = json.loads(data)
        rows.append(
            {
                "id": event,
                "model": subject.partition("/")[2],
                "alias": told["alias"],
                "version": told["version"],
                "before": told["before"],
                "state": "made",
                "asked_at": time,
                "actor": actor,
                "reason": told.get("reason", ""),
                "decided_at": None,
                "decided_by": "",
                "decision": "",
            }
        )
    if rows:
        op.bulk_insert(moves, rows)
