"""Keys for the digests of hidden columns in the prediction log."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "log_key",
        sa.Column("deployment", sa.Text(), primary_key=True),
        sa.Column("key", sa.Text(), nullable=False),
    )
