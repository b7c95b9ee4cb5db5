"""Observations count requests apart from rows, and by groups of entities where these are split; rollouts wait for approval."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; what was counted before had a row a request, and no groups."""
    with op.batch_alter_table("observation") as table:
        table.add_column(sa.Column("rows", sa.BigInteger(), nullable=False, server_default="0"))
        table.add_column(sa.Column("clusters", sa.Text(), nullable=False, server_default="{}"))
        table.add_column(sa.Column("score_bins", sa.Text(), nullable=False, server_default="[]"))
    op.execute("UPDATE observation SET rows = requests - errors")
    with op.batch_alter_table("observation") as table:
        table.alter_column("rows", server_default=None)
        table.alter_column("clusters", server_default=None)
        table.alter_column("score_bins", server_default=None)
    with op.batch_alter_table("rollout") as table:
        table.add_column(sa.Column("waits", sa.Boolean(), nullable=False, server_default=sa.false()))
        table.add_column(sa.Column("decided_at", sa.Double(), nullable=False, server_default="0"))
        table.add_column(sa.Column("decided_routes", sa.BigInteger(), nullable=False, server_default="0"))
        table.add_column(sa.Column("restored_seconds", sa.Double(), nullable=True))
    with op.batch_alter_table("rollout") as table:
        for name in ("waits", "decided_at", "decided_routes"):
            table.alter_column(name, server_default=None)
