"""`tournant data`: datasets, their versions and the files they are on this machine."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tournant.cli.options import as_json, bytes_text, home_option, local_actor, print_json, print_table, say, when
from tournant.cli.progress import progress

if TYPE_CHECKING:
    from tournant.domain.data import TreeChanges
    from tournant.services.context import DataContext

__all__ = ["data", "open_data", "print_changes"]

_SHOWN = 20  # changed paths before "and N more"


def open_data(home: str | None) -> "DataContext":
    """Open the part of a home that datasets need."""
    from tournant.bootstrap.datasets import open_data_context
    from tournant.config import Settings

    return open_data_context(Settings.load(home=home), actor=local_actor())


@click.group()
def data() -> None:
    """Datasets and their versions."""


@data.command("list")
@as_json
@home_option
def list_data(as_json: bool, home: str | None) -> None:
    """List datasets."""
    from tournant.services.data import list_datasets

    found = list_datasets(open_data(home))
    if as_json:
        return print_json(found)
    rows = [(d.name, when(d.created_at), d.path) for d in found]
    empty = "no datasets yet: tournant run, or tournant data add NAME PATH"
    return print_table(("DATASET", "SINCE (UTC)", "PATH"), rows, empty=empty)


@data.command("log")
@click.argument("name")
@as_json
@home_option
def log_data(name: str, as_json: bool, home: str | None) -> None:
    """Show a dataset's versions, newest first, and their tags."""
    from tournant.services.data import get_dataset_version, list_dataset_tags, list_dataset_versions

    ctx = open_data(home)
    get_dataset_version(ctx, name)
    versions, tags = list_dataset_versions(ctx, name), list_dataset_tags(ctx, name)
    if as_json:
        return print_json({"versions": versions, "tags": tags})
    named = {v.id: ", ".join(tag.tag for tag in tags if tag.version == v.id) for v in versions}
    rows = [
        (v.id, named[v.id], v.digest[:12], f"{v.files:,}", f"{v.size_bytes:,}", when(v.created_at), v.source)
        for v in versions
    ]
    columns = ("VERSION", "TAGS", "DIGEST", "FILES", "BYTES", "MADE (UTC)", "SOURCE")
    return print_table(columns, rows, empty="no versions")


@data.command("add")
@click.argument("name")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@as_json
@home_option
def add_data(name: str, path: Path, as_json: bool, home: str | None) -> None:
    """Keep PATH (a file or a folder) as the next version of the dataset NAME.

    `.tournantignore` files leave out what they name, as `.gitignore` does. Files that look unchanged are not read again.
    """
    from tournant.services.workspaces import add_workspace

    ctx = open_data(home)
    with progress(f"adding {path}") as told:
        version = add_workspace(ctx, name, path, progress=told)
    if as_json:
        return print_json(version)
    return click.echo(f"{version.id}  {version.digest[:12]}  {version.files:,} files, {version.size_bytes:,} bytes")


@data.command("status")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@as_json
@home_option
def show_status(paths: tuple[Path, ...], as_json: bool, home: str | None) -> None:
    """Say how PATHS (or all that were added or checked out) differ from the versions they were."""
    from tournant.bootstrap.datasets import open_keeper
    from tournant.config import Settings
    from tournant.services.workspaces import list_statuses

    statuses = list_statuses(open_keeper(Settings.load(home=home)), paths)
    if as_json:
        return print_json(statuses)
    if not statuses:
        say("nothing was added or checked out here: tournant data add NAME PATH")
    for status in statuses:
        state = "missing" if status.missing else "changed" if status.changes else "unchanged"
        click.echo(f"{status.workspace.version}  {status.workspace.path}  {state}")
        print_changes(status.changes)
    return None


def print_changes(changes: "TreeChanges", limit: int = _SHOWN) -> None:
    """Print changed paths, the first of them."""
    lines = [
        *(f"  + {path}" for path in changes.added),
        *(f"  ~ {path}" for path in changes.modified),
        *(f"  - {path}" for path in changes.removed),
    ]
    for line in lines[:limit]:
        click.echo(line)
    if len(lines) > limit:
        click.echo(f"  … and {len(lines) - limit:,} more (--json lists all)")


@data.command("checkout")
@click.argument("version")
@click.argument("path", required=False, type=click.Path(path_type=Path))
@as_json
@home_option
def checkout_data(version: str, path: Path | None, as_json: bool, home: str | None) -> None:
    """Put VERSION (`flights@3`, `flights@TAG`, or `flights` for the newest) at PATH, in place of what is there.

    Without PATH it goes where its dataset was last. What is right already is not written; a kill leaves the old or the new.
    """
    from tournant.services.workspaces import checkout_workspace

    ctx = open_data(home)
    with progress(f"checking out {version}") as told:
        found, target = checkout_workspace(ctx, version, path, progress=told)
    if as_json:
        return print_json({"version": found, "path": str(target)})
    return click.echo(f"{found.id}  {target}  {found.files:,} files, {found.size_bytes:,} bytes")


@data.command("tag")
@click.argument("version")
@click.argument("tag")
@as_json
@home_option
def tag_data(version: str, tag: str, as_json: bool, home: str | None) -> None:
    """Let TAG name VERSION: `tournant data tag flights@3 spring`, then `flights@spring`."""
    from tournant.services.data import tag_dataset_version

    moved = tag_dataset_version(open_data(home), version, tag)
    if as_json:
        return print_json(moved)
    return click.echo(f"{moved.dataset}@{moved.tag} is now {moved.version}")


@data.command("remove")
@click.argument("version")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@as_json
@home_option
def remove_data(version: str, dry_run: bool, as_json: bool, home: str | None) -> None:
    """Forget VERSION, an older one that no model version and no tag refers to; `tournant data gc` then frees its content."""
    from tournant.services.data import get_dataset_version, remove_dataset_version

    ctx = open_data(home)
    gone = get_dataset_version(ctx, version) if dry_run else remove_dataset_version(ctx, version)
    if as_json:
        return print_json(gone)
    words = f"would remove {gone.id}" if dry_run else f"removed {gone.id}; free its content: tournant data gc"
    return click.echo(words)


@data.command("gc")
@click.option("--dry-run", is_flag=True, help="Only count what would go.")
@as_json
@home_option
def collect_data(dry_run: bool, as_json: bool, home: str | None) -> None:
    """Remove content that no version, model, run or prediction refers to; others may be writing meanwhile."""
    from tournant.services.store_upkeep import collect_garbage

    found = collect_garbage(open_data(home), dry_run=dry_run)
    if as_json:
        return print_json(found)
    verb = "would remove" if dry_run else "removed"
    return click.echo(
        f"{verb} {found.objects:,} objects, {bytes_text(found.size_bytes)}; {found.kept_objects:,} are in use"
    )


@data.command("fsck")
@click.option("--repair", is_flag=True, help="Get what is damaged or missing from the remotes.")
@as_json
@home_option
@click.pass_context
def check_data(click_context: click.Context, repair: bool, as_json: bool, home: str | None) -> None:
    """Read all content and compare it with its digests; exit 1 unless everything is there as it was stored."""
    from tournant.services.remotes import list_remotes
    from tournant.services.store_upkeep import check_store

    ctx = open_data(home)
    with progress("reading every object") as told:
        found = check_store(ctx, repair_from=list_remotes(ctx) if repair else None, progress=told)
    if as_json:
        print_json({**_fields(found), "sound": found.sound})
    else:
        click.echo(f"{found.packs:,} packs with {found.objects:,} objects, {found.files:,} single files")
        for what, names in (
            ("damaged object", found.damaged),
            ("damaged pack", found.damaged_packs),
            ("missing object", found.missing),
            ("not whole", found.incomplete),
        ):
            for name in names[:_SHOWN]:
                click.echo(f"  {what}: {name}")
            if len(names) > _SHOWN:
                click.echo(f"  … and {len(names) - _SHOWN:,} more")
        if found.repaired:
            click.echo(f"repaired {found.repaired:,} objects")
        hint = "" if repair else ". Get what a remote has: tournant data fsck --repair"
        click.echo("sound" if found.sound else f"not sound{hint}")
    if not found.sound:
        click_context.exit(1)


def _fields(value: Any) -> dict[str, Any]:
    import msgspec

    built: dict[str, Any] = msgspec.to_builtins(value)
    return built
