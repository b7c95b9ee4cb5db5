"""`tournant remotes`: other places for dataset versions."""

import click

from tournant.cli.data import open_data
from tournant.cli.options import as_json, bytes_text, home_option, print_json, print_table

__all__ = ["remotes"]


@click.group()
def remotes() -> None:
    """Other places for dataset versions: folders, S3, GCS, Azure."""


@remotes.command("list")
@as_json
@home_option
def show_remotes(as_json: bool, home: str | None) -> None:
    """List remotes."""
    from tournant.services.remotes import list_remotes

    found = list_remotes(open_data(home))
    if as_json:
        return print_json(found)
    rows = [(remote.name, remote.url, remote.project) for remote in found]
    return print_table(("REMOTE", "URL", "PROJECT"), rows, empty="no remotes yet: tournant remotes add NAME URL")


@remotes.command("add")
@click.argument("name")
@click.argument("url")
@click.option("--project", default="", help="What our versions are filed under there.  [default: the project's folder]")
@home_option
def create_remote(name: str, url: str, project: str, home: str | None) -> None:
    """Remember URL (a folder, s3://BUCKET/…, gs://BUCKET/… or az://CONTAINER/…) as the remote NAME.

    Credentials come from the environment, as each cloud's own tools read them (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, …).
    Projects that share a remote share content there, and each sees its own versions only.
    """
    from tournant.services.remotes import add_remote

    remote = add_remote(open_data(home), name, url, project=project)
    click.echo(f"{remote.name}  {remote.url}  project {remote.project}")


@remotes.command("remove")
@click.argument("name")
@home_option
def forget_remote(name: str, home: str | None) -> None:
    """Forget the remote NAME; what it holds stays there."""
    from tournant.services.remotes import remove_remote

    click.echo(f"{remove_remote(open_data(home), name).name} is forgotten")


@remotes.command("gc")
@click.argument("name")
@click.option("--dry-run", is_flag=True, help="Only count what would go.")
@as_json
@home_option
def collect_remote(name: str, dry_run: bool, as_json: bool, home: str | None) -> None:
    """Remove from the remote NAME what no version of any project there reaches; pushes may be going on meanwhile."""
    from tournant.services.remotes import get_remote

    ctx = open_data(home)
    found = ctx.open_remote(get_remote(ctx, name)).collect(dry_run=dry_run)
    if as_json:
        return print_json(found)
    verb = "would remove" if dry_run else "removed"
    return click.echo(f"{verb} {found.objects:,} objects, {bytes_text(found.size_bytes)}")
