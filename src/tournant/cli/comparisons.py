"""`tournant data diff`: what differs between two dataset versions."""

import click

from tournant.cli.data import data, open_data, print_changes
from tournant.cli.options import as_json, home_option, print_json

__all__ = ["data"]


@data.command("diff")
@click.argument("before")
@click.argument("after")
@as_json
@home_option
def diff_data(before: str, after: str, as_json: bool, home: str | None) -> None:
    """Say which files differ between two versions: `tournant data diff flights@2 flights@3`."""
    from tournant.services.workspaces import compare_versions

    changes = compare_versions(open_data(home), before, after)
    if as_json:
        return print_json(changes)
    print_changes(changes)
    if not changes:
        click.echo("the same")
    return None
