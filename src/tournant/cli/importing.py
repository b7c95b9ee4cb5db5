"""`tournant import`: whole projects from elsewhere."""

from pathlib import Path

import click

from tournant.cli.data import open_data
from tournant.cli.options import as_json, home_option, print_json, say
from tournant.cli.progress import progress

__all__ = ["import_"]  # `import` itself is no name that Python could give


@click.group("import")
def import_() -> None:
    """Whole projects from elsewhere."""


@import_.command("dvc")
@click.argument("path", type=click.Path(exists=True, file_okay=False, path_type=Path))
@as_json
@home_option
def import_from_dvc(path: Path, as_json: bool, home: str | None) -> None:
    """Bring in the DVC repository at PATH: all that git knows of its `.dvc` files as dataset versions, its stages as steps.

    Content comes from DVC's cache, else from its default remote. `dvc.yaml` becomes a `tournant.yaml` beside it, unless there is
    one. Nothing of DVC's is changed.
    """
    from tournant.services.dvc_repository import import_dvc

    with progress(f"importing {path}") as told:
        found = import_dvc(open_data(home), path, progress=told)
    if as_json:
        return print_json(found)
    for version in found.versions:
        click.echo(f"{version.id}  {version.files:,} files, {version.size_bytes:,} bytes  {version.source}")
    for missing in found.missing:
        say(f"left out: {missing}")
    if found.project_file:
        click.echo(f"{found.project_file}  steps: {', '.join(found.steps)}")
    return None
