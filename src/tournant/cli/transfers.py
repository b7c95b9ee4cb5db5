"""`tournant data push | pull | fetch`: dataset versions between this home and remotes."""

from pathlib import Path

import click

from tournant.cli.data import data, open_data
from tournant.cli.options import as_json, bytes_text, home_option, print_json, say
from tournant.cli.progress import progress

__all__ = ["data"]

remote_option = click.option("--remote", default="", help="Which remote.  [default: the only one]")


@data.command("push")
@click.argument("versions", nargs=-1)
@remote_option
@as_json
@home_option
def push_data(versions: tuple[str, ...], remote: str, as_json: bool, home: str | None) -> None:
    """Send VERSIONS (`flights@3`, `flights` for all of it; without any, everything) to a remote.

    What is there already is not sent. Killed half-way, it goes on where it was.
    """
    from tournant.services.remotes import get_remote, push_datasets

    ctx = open_data(home)
    place = get_remote(ctx, remote)
    with progress(f"pushing to {place.name}") as told:
        moved = push_datasets(ctx, place, versions, progress=told)
    if as_json:
        return print_json(moved)
    if not moved.versions:
        return say(f"{place.name} has everything already")
    return click.echo(
        f"pushed {', '.join(moved.versions)}: {moved.objects:,} objects, {bytes_text(moved.size_bytes)}, {moved.requests:,} requests"
    )


@data.command("pull")
@click.argument("versions", nargs=-1)
@remote_option
@as_json
@home_option
def pull_data(versions: tuple[str, ...], remote: str, as_json: bool, home: str | None) -> None:
    """Bring VERSIONS (without any, everything our project has) from a remote, content and records.

    Files are put on the disk by `tournant data checkout`.
    """
    from tournant.services.remotes import get_remote, pull_datasets

    ctx = open_data(home)
    place = get_remote(ctx, remote)
    with progress(f"pulling from {place.name}") as told:
        pulled = pull_datasets(ctx, place, versions, progress=told)
    if as_json:
        return print_json(pulled)
    moved = pulled.transfer
    names = ", ".join(pulled.versions) or "nothing"
    return click.echo(f"pulled {names}: {moved.objects:,} objects, {bytes_text(moved.size_bytes)}")


@data.command("fetch")
@click.argument("version")
@click.option("--part", default="", help="Only this file or folder of the version.")
@remote_option
@as_json
@home_option
def fetch_data(version: str, part: str, remote: str, as_json: bool, home: str | None) -> None:
    """Bring the content of VERSION, or a part of it, from a remote."""
    from tournant.services.remotes import fetch_version, get_remote

    ctx = open_data(home)
    place = get_remote(ctx, remote)
    with progress(f"fetching {version}") as told:
        pulled = fetch_version(ctx, place, version, under=part, progress=told)
    if as_json:
        return print_json(pulled)
    moved = pulled.transfer
    return click.echo(
        f"fetched {', '.join(pulled.versions)}: {moved.objects:,} objects, {bytes_text(moved.size_bytes)}"
    )


@data.command("get")
@click.argument("url")
@click.argument("path", required=False, type=click.Path(path_type=Path))
@as_json
@home_option
def get_data(url: str, path: Path | None, as_json: bool, home: str | None) -> None:
    """Download the file or folder at URL (https://, s3://, gs://, az://, or a path) to PATH, and keep no record of it."""
    from tournant.services.imports import get_url

    target = path or Path(url.rstrip("/").rpartition("/")[2])
    with progress(f"getting {url}") as told:
        get_url(open_data(home), url, target, progress=told)
    return print_json({"path": str(target)}) if as_json else click.echo(str(target))


@data.command("import")
@click.argument("url")
@click.argument("name")
@as_json
@home_option
def import_data(url: str, name: str, as_json: bool, home: str | None) -> None:
    """Keep what stands at URL as the next version of the dataset NAME; what is known to be unchanged is not downloaded."""
    from tournant.services.imports import import_url

    with progress(f"importing {url}") as told:
        version, changed = import_url(open_data(home), url, name, progress=told)
    if as_json:
        return print_json({"version": version, "changed": changed})
    state = f"{version.files:,} files, {version.size_bytes:,} bytes" if changed else "unchanged"
    return click.echo(f"{version.id}  {state}")
