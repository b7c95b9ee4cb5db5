"""Write migration 0001 again from `schema.metadata`: `python scripts/write_first_migration.py` (before the first release only)."""

import subprocess
import sys
from pathlib import Path

import sqlalchemy as sa
from alembic.autogenerate import produce_migrations, render_python_code
from alembic.migration import MigrationContext

from tournant.adapters.sql.migrate import MIGRATIONS
from tournant.adapters.sql.schema import metadata

TARGET = MIGRATIONS / "versions" / "0001_first_tables.py"
HEADER = '''"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create every table."""
'''


def main() -> None:
    """Compare an empty database with the metadata and write what is missing: everything."""
    with sa.create_engine("sqlite://").connect() as connection:
        upgrades = produce_migrations(MigrationContext.configure(connection), metadata).upgrade_ops
    assert upgrades is not None
    code = render_python_code(upgrades, migration_context=MigrationContext.configure(dialect_name="postgresql"))
    lines = [line for line in code.splitlines() if not line.strip().startswith("#")]
    TARGET.write_text(HEADER + "\n".join(f"    {line.removeprefix('    ')}".rstrip() for line in lines) + "\n")
    ruff = Path(sys.executable).with_name("ruff")
    subprocess.run([ruff, "format", "-q", TARGET], check=True)


if __name__ == "__main__":
    main()
