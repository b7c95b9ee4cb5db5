"""`tournant data diff`: what differs between two dataset versions."""

from typing import TYPE_CHECKING

import click

from tournant.cli.data import data, open_data, print_changes
from tournant.cli.options import as_json, home_option, print_json

if TYPE_CHECKING:
    from tournant.domain.tables import TableChanges

__all__ = ["data"]

_SHOWN = 10  # columns that moved
_LITTLE = 0.02  # a stability index not worth a line


@data.command("diff")
@click.argument("before")
@click.argument("after")
@as_json
@home_option
def diff_data(before: str, after: str, as_json: bool, home: str | None) -> None:
    """Say what differs between two versions: `tournant data diff flights@2 flights@3`.

    Files by path (+ added, ~ modified, - removed); of Parquet and CSV files also rows, columns, types, and how far the
    values of each column moved (the population stability index: 0.1 is some change, 0.25 much).
    """
    from tournant.services.workspaces import compare_version_tables, compare_versions

    ctx = open_data(home)
    changes, tables = compare_versions(ctx, before, after), compare_version_tables(ctx, before, after)
    if as_json:
        return print_json({"files": changes, "tables": tables})
    print_changes(changes)
    for table in tables:
        _print_table_changes(table)
    if not changes:
        click.echo("the same")
    return None


def _print_table_changes(table: "TableChanges") -> None:
    click.echo(f"{table.path}: {table.rows_before:,} rows, now {table.rows_after:,}")
    for column in table.columns_added:
        click.echo(f"  + column {column}")
    for column in table.columns_removed:
        click.echo(f"  - column {column}")
    for column, (old, new) in table.types_changed.items():
        click.echo(f"  ~ column {column}: {old}, now {new}")
    moved = [change for change in table.moved if change.psi >= _LITTLE]
    for change in moved[:_SHOWN]:
        missing = f", missing {change.missing_before:.1%} → {change.missing_after:.1%}"
        click.echo(
            f"  ~ values of {change.column}: stability index {change.psi:.2f}"
            f"{missing if change.missing_before != change.missing_after else ''}"
        )
    if len(moved) > _SHOWN:
        click.echo(f"  … and {len(moved) - _SHOWN} more columns that moved (--json lists all)")
