"""Notifiers follow the events, each from a cursor of its own; the outbox in the liveness monitors' state goes."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_MONITOR = sa.table("monitor", sa.column("id", sa.Text), sa.column("state", sa.Text))


def upgrade() -> None:
    """Add the table, and take what was told (or is not any more) off the monitors."""
    op.create_table(
        "notification_cursor",
        sa.Column("notifier", sa.Text(), primary_key=True),
        sa.Column("floor", sa.Text(), nullable=False),
        sa.Column("told", sa.Text(), nullable=False),
    )
    connection = op.get_bind()
    for monitor, state in connection.execute(sa.select(_MONITOR.c.id, _MONITOR.c.state)).all():
        left = {name: value for name, value in json.loads(state).items() if name != "outbox"}
        connection.execute(_MONITOR.update().where(_MONITOR.c.id == monitor).values(state=json.dumps(left)))
